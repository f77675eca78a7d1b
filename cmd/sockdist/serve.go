package main

import (
	"errors"
	"log/slog"
	"os"
	"os/signal"

	"github.com/sockdist/sockdist/internal/systemd"
	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/config"
	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newServe(env *environment) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Run several apps, groups for library workers, and attachments",
		Long: `Do what a configuration says, until SIGTERM or Ctrl-C:

  apps     servers, each as sockdist run has one, with its flags as keys
  groups   for workers that use the library (userspace/worker): they join at the
           control socket, and need no privilege
  attach   servers that run by themselves: steered once they are there, and
           watched, as by sockdist attach --watch

What can't start is said and tried again; the others don't notice. sockdist
apply, or SIGHUP, reads the file again; only what changed changes. sockdist
check says before whether a file is right.

The verbs reload, scale and stop work as with sockdist run; operators of the
configuration may use them, and apply, without being root. An app that was
stopped starts again with the next apply.

SIGTERM ends the apps in order, as it ends sockdist run. Groups and attachments
stay steered, their servers and library workers serve on. If sockdist itself is
killed, all of them go on; started again, it takes them over, and no connection
notices.`,
		Example: `  sockdist check sockdist.yaml
  sudo sockdist serve --config sockdist.yaml`,
		Args: usage(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			if path == "" {
				return usagef("serve: say what to do, as in: sockdist serve --config /etc/sockdist/sockdist.yaml")
			}
			return env.serve(path)
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "the configuration, a YAML file")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	return cmd
}

func (e *environment) serve(path string) error {
	manager, err := systemd.FromEnvironment()
	log := e.logger()
	if err != nil {
		log.Warn(err.Error())
	}
	defer manager.Close()
	file, err := e.loadConfig(path)
	if err != nil {
		return err
	}
	if err := trust(file, log); err != nil {
		return err
	}
	if err := may("serve", e.circumstancesOfServe(file)...); err != nil {
		return err
	}
	host, err := e.host()
	if err != nil {
		return err
	}
	defer host.Close()
	options := daemon.Options{
		File: file, Runtime: e.getenv(runtimeVariable), Host: host, Manager: manager, Logger: log,
		Kernel: func(policy loader.Policy, udp bool, log *slog.Logger) daemon.Kernel {
			return &kernel{host: host, policy: policy, udp: udp, log: log}
		},
		Settled: func() { e.settle(host, file, log) },
		MayApply: func(file *config.File) error {
			return errors.Join(trust(file, log), e.dutyOfServe(file).Check())
		},
		Relay: func(app string) []string { return []string{"/proc/self/exe", relayVerb, "--app", app} },
	}
	if options.Runtime == "" {
		options.Runtime = control.DefaultRuntimeDir
	}
	for _, l := range manager.Listeners() {
		options.Sockets = append(options.Sockets, daemon.Socket{Name: l.Name, File: l.File})
	}
	d := daemon.New(options)
	defer passToDaemon(d)()
	return d.Run()
}

// loadConfig prints all that is wrong with a file.
func (e *environment) loadConfig(path string) (*config.File, error) {
	file, err := config.Load(path)
	var problems config.Problems
	if errors.As(err, &problems) {
		if err := e.writeChecked(checked{Errors: problems}); err != nil {
			return nil, err
		}
		return nil, errBadConfig
	}
	return file, err
}

// passToDaemon hands signals on. A terminal that was closed is the end.
func passToDaemon(d *daemon.Daemon) (stop func()) {
	onTerminal := isTerminal(os.Stdout) || isTerminal(os.Stderr)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGPIPE)
	go func() {
		for s := range signals {
			if s == unix.SIGHUP && onTerminal && !isTerminal(os.Stdout) && !isTerminal(os.Stderr) {
				s = unix.SIGTERM
			}
			d.Signal(s)
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
	}
}
