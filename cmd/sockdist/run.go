package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sockdist/sockdist/internal/systemd"
	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/control/output"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// runFlags are the flags of run as they were given.
type runFlags struct {
	workers string
	policy  string
	ports   []string
	name    string
	user    string
	pin     bool
	udp     bool
	env     []string
	grace   time.Duration
	log     string

	ready        string
	readyTimeout time.Duration
	hangAfter    time.Duration
	hangGrace    time.Duration
	onHang       string
	memoryMax    string
	takeOver     bool
}

func newRun(env *environment) *cobra.Command {
	var flags runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARGUMENT]...",
		Short: "Run several copies of a server behind its port",
		Long: `Run several copies of an unmodified server. They all listen on the server's port,
and the kernel gives each new connection to the copy with the fewest.

A worker that dies is started again, and connections that waited in its queue
are served by the others; so they are when it hangs (--hang-after). SIGHUP
reloads, see sockdist reload. SIGTERM or Ctrl-C drains, waits for connections to
end (--grace), then stops the workers; a second one hurries.

If sockdist itself is killed, its workers serve on. Started again with the same
command, it takes them over, and no connection notices.

Workers get SOCKDIST_SLOT (0, 1, …) and SOCKDIST_WORKERS, and, unless you set
them, GOMAXPROCS=1 and GODEBUG=multipathtcp=0. A port on which somebody else
listens is an error.`,
		Example: `  sockdist run -n 4 -- node app.js
  sockdist run -n auto --port 8080 --name web --user www-data -- python3 server.py`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || cmd.ArgsLenAtDash() != 0 {
				return usagef("run: write the command to run after --, as in: sockdist run -n 4 -- node app.js")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.run(cmd.Context(), flags, args)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&flags.workers, "workers", "n", "auto", "number of workers, 1 to 256; auto: one for each CPU that this process may use")
	f.StringVar(&flags.policy, "policy", "least", "how connections are given out: "+strings.Join(policyNames(), ", "))
	f.StringArrayVar(&flags.ports, "port", nil, "share this port only (can be repeated); default every port the workers listen on")
	f.StringVar(&flags.name, "name", "", "name of the app (default that of the command)")
	f.StringVar(&flags.user, "user", "", "run the workers as USER or USER:GROUP, names or numbers")
	f.BoolVar(&flags.pin, "pin", false, "keep each worker on a CPU of its own")
	f.BoolVar(&flags.udp, "udp", false, "let the workers share UDP ports too (the kernel's hash gives datagrams out)")
	f.StringArrayVar(&flags.env, "env", nil, "set NAME=VALUE for the workers (can be repeated)")
	f.DurationVar(&flags.grace, "grace", control.DefaultGrace, "how long to wait for connections to end before the workers are stopped")
	f.StringVar(&flags.ready, "ready", "", "URL or path that a worker has to answer (status below 400) before it gets connections")
	f.DurationVar(&flags.readyTimeout, "ready-timeout", control.DefaultReadyTimeout, "how long a new worker of a reload or scale has to get ready")
	f.DurationVar(&flags.hangAfter, "hang-after", control.DefaultHangAfter, "a worker hangs that accepts nothing for this long while connections wait; 0: never")
	f.StringVar(&flags.onHang, "on-hang", string(control.RestartHung), "what to do then: restart (eject it, kill it after --hang-grace), eject, ignore")
	f.DurationVar(&flags.hangGrace, "hang-grace", control.DefaultHangGrace, "how long a worker that hangs has to go on before it is restarted")
	f.StringVar(&flags.memoryMax, "memory-max", "", "the most memory that a worker may have, such as 200M; with more it is killed and started again")
	f.BoolVar(&flags.takeOver, "take-over", false, "replace the supervisor that the app has now, and keep its workers: for an upgrade of sockdist")
	f.StringVar(&flags.log, "log", "auto", "workers' output: plain, prefix (each line with its slot), json; auto: prefix on a terminal")
	_ = cmd.RegisterFlagCompletionFunc("policy", cobra.FixedCompletions(policyNames(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("on-hang", cobra.FixedCompletions([]string{"restart", "eject", "ignore"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("log", cobra.FixedCompletions([]string{"auto", "plain", "prefix", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (e *environment) run(ctx context.Context, flags runFlags, command []string) error {
	config, policy, err := flags.config(command)
	if err != nil {
		return usageError{err}
	}
	config.Logger = e.logger()
	config.Relay = []string{"/proc/self/exe", relayVerb}
	config.RuntimeDir = e.getenv(runtimeVariable)
	manager, err := systemd.FromEnvironment()
	if err != nil {
		config.Logger.Warn(err.Error())
	}
	defer manager.Close()
	config.Manager = manager
	if err := mayRun(); err != nil {
		return err
	}
	host, err := e.host()
	if err != nil {
		return err
	}
	defer host.Close()
	supervisor, err := control.New(config, &kernel{host: host, policy: policy, udp: flags.udp})
	if err != nil {
		return err
	}
	defer passSignals(supervisor)()
	// Signals end it through the supervisor, in order; the end of the context would cut connections.
	err = supervisor.Run(context.WithoutCancel(ctx))
	if errors.Is(err, control.ErrHandedOver) {
		return nil
	}
	return err
}

// logger is for a supervisor's own log.
func (e *environment) logger() *slog.Logger {
	level := slog.LevelInfo
	if e.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(e.err, &slog.HandlerOptions{Level: level}))
}

func passSignals(supervisor *control.Supervisor) (stop func()) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2)
	go func() {
		for s := range signals {
			supervisor.Signal(s)
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
	}
}

func (f runFlags) config(command []string) (c control.Config, policy loader.Policy, err error) {
	c = control.Config{Name: f.name, Command: command, User: f.user, Pin: f.pin, Env: f.env, Grace: f.grace,
		Ready: f.ready, ReadyTimeout: f.readyTimeout, HangAfter: f.hangAfter, OnHang: control.OnHang(f.onHang), HangGrace: f.hangGrace,
		TakeOver: f.takeOver}
	if c.Name == "" {
		c.Name = nameOf(command[0])
	}
	if err := loader.CheckName(c.Name); err != nil {
		return c, 0, err
	}
	if c.Workers, err = parseWorkers(f.workers); err != nil {
		return c, 0, err
	}
	if c.Ports, err = parsePorts(f.ports); err != nil {
		return c, 0, err
	}
	if err := checkAssignments(f.env); err != nil {
		return c, 0, err
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
		least time.Duration
	}{
		{"grace", f.grace, 0}, {"ready-timeout", f.readyTimeout, time.Millisecond},
		{"hang-after", f.hangAfter, 0}, {"hang-grace", f.hangGrace, time.Millisecond},
	} {
		if d.value < d.least {
			return c, 0, fmt.Errorf("--%s %v: must be at least %v", d.flag, d.value, d.least)
		}
	}
	if c.Log, err = output.ParseFormat(f.log); err != nil {
		return c, 0, err
	}
	policy, err = loader.ParsePolicy(f.policy)
	return c, policy, err
}

// nameOf makes an app's name of a command: node, python3, my-server.
func nameOf(command string) string {
	base := filepath.Base(command)
	base = strings.TrimSuffix(base, filepath.Ext(base))
	name := strings.Map(func(r rune) rune {
		if loader.CheckName(string(r)) != nil || r == ':' {
			return '-'
		}
		return r
	}, base)
	if name == "" {
		return "app"
	}
	return name[:min(len(name), 48)] // room for the port in a group's name
}

// parseWorkers reads -n; 0 stands for auto.
func parseWorkers(text string) (int, error) {
	if text == "auto" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > control.MaxWorkers {
		return 0, fmt.Errorf("-n %s: must be auto or 1 to %d", text, control.MaxWorkers)
	}
	return n, nil
}

func parsePorts(texts []string) (ports []uint16, err error) {
	for _, text := range texts {
		for _, one := range strings.Split(text, ",") {
			port, err := strconv.ParseUint(one, 10, 16)
			if err != nil || port == 0 {
				return nil, fmt.Errorf("--port %s: must be 1 to 65535", text)
			}
			ports = append(ports, uint16(port))
		}
	}
	if len(ports) > loader.MaxPorts {
		return nil, fmt.Errorf("--port: %d ports, at most %d are possible", len(ports), loader.MaxPorts)
	}
	return ports, nil
}

func checkAssignments(texts []string) error {
	for _, text := range texts {
		if name, _, ok := strings.Cut(text, "="); !ok || name == "" {
			return fmt.Errorf("--env %s: write NAME=VALUE", text)
		}
	}
	return nil
}

// relayVerb is how run calls itself to read what workers print, so that a
// supervisor's sudden death breaks no worker's pipe.
const relayVerb = "output-relay"

func newRelay(*environment) *cobra.Command {
	return &cobra.Command{
		Use:    relayVerb + " FORMAT",
		Short:  "Read the output of workers (internal)",
		Hidden: true,
		Args:   usage(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			format, err := output.ParseFormat(args[0])
			if err != nil {
				return usageError{err}
			}
			return output.Serve(format)
		},
	}
}

// lastWords are what the worker printed that an error is about.
func lastWords(err error) []string {
	var failed *control.StartError
	var refused *refusedError
	switch {
	case errors.As(err, &failed):
		return failed.Output
	case errors.As(err, &refused):
		return refused.Output
	}
	return nil
}
