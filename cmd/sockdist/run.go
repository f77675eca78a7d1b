package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"

	"github.com/sockdist/sockdist/internal/capabilities"
	"github.com/sockdist/sockdist/internal/systemd"
	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/control/output"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

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

Workers get SOCKDIST_SLOT (0, 1, …), SOCKDIST_WORKERS, and SOCKDIST_SOCKET, where
those that use the Go library join and report their load; and, unless you set
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
	flags.register(cmd)
	return cmd
}

func (e *environment) run(ctx context.Context, flags runFlags, command []string) error {
	meant, err := flags.settings(command)
	if err != nil {
		return usageError{err}
	}
	config := meant.Config
	config.Logger = e.logger()
	config.Relay = []string{"/proc/self/exe", relayVerb}
	config.RuntimeDir = e.getenv(runtimeVariable)
	config.Managed = e.getenv("NOTIFY_SOCKET") != ""
	manager, err := systemd.FromEnvironment()
	if err != nil {
		config.Logger.Warn(err.Error())
	}
	defer manager.Close()
	config.Manager = manager
	for _, l := range manager.Listeners() {
		config.Standby = append(config.Standby, l.File)
	}
	when := e.circumstances(e.appFolders()...)
	if config.User != "" {
		when = append(when, withUser)
	}
	if err := may("run", when...); err != nil {
		return err
	}
	duty := e.dutyOfRun(config.User)
	host, err := e.host()
	if err != nil {
		return err
	}
	defer host.Close()
	supervisor, err := control.New(config, &kernel{
		host: host, policy: meant.Policy, udp: meant.UDP, log: config.Logger,
		opened: func() { fulfil(duty, config.Logger) },
	})
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

// relayVerb is how run calls itself to read what workers print, so that a
// supervisor's sudden death breaks no worker's pipe.
const relayVerb = "output-relay"

func newRelay(*environment) *cobra.Command {
	var app string
	cmd := &cobra.Command{
		Use:    relayVerb + " FORMAT",
		Short:  "Read the output of workers (internal)",
		Hidden: true,
		Args:   usage(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			format, err := output.ParseFormat(args[0])
			if err != nil {
				return usageError{err}
			}
			// It reads what workers write, which may be anything, and needs no right for it.
			_ = capabilities.Duty{}.Fulfil()
			return output.Serve(format, app)
		},
	}
	cmd.Flags().StringVar(&app, "app", "", "name of the app, for each line")
	return cmd
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
