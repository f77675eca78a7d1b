package main

import (
	"context"
	"errors"

	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/wire"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newStop(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "stop NAME",
		Short: "End an app: finish its connections, then stop its workers",
		Long: `End an app, as SIGTERM to its supervisor does: drain, wait for connections to end
(run's --grace), stop the workers, and leave nothing in the kernel. It also ends
workers whose supervisor was killed.`,
		Example:           "  sockdist stop web",
		Args:              usage(cobra.ExactArgs(1)),
		ValidArgsFunction: completeThen(env, completeApps),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := env.ask(cmd.Context(), args[0], wire.Request{Verb: wire.Stop})
			if errors.Is(err, wire.ErrNobody) {
				return env.stopAbandoned(cmd.Context(), args[0], err)
			}
			return err
		},
	}
}

// stopAbandoned ends an app whose supervisor was killed, by being its supervisor
// for the end. Its workers may live on although its pins are gone.
func (e *environment) stopAbandoned(ctx context.Context, app string, nobody error) error {
	if !hasWorkers(app) {
		return nobody
	}
	if hasOthersWorkers(app) {
		if err := may("stop", abandoned); err != nil {
			return err
		}
	}
	host, err := e.host()
	if err != nil {
		return err
	}
	defer host.Close()
	config := control.Config{
		Name: app, Command: []string{"/proc/self/exe"}, Workers: 1, EndOnly: true, Grace: control.DefaultGrace,
		RuntimeDir: e.getenv(runtimeVariable), Logger: e.logger(),
	}
	supervisor, err := control.New(config, &kernel{host: host, log: config.Logger})
	if err != nil {
		return err
	}
	defer passSignals(supervisor)()
	supervisor.Signal(unix.SIGTERM)
	return supervisor.Run(context.WithoutCancel(ctx))
}

// hasWorkers tells whether there is a cgroup of the app.
func hasWorkers(app string) bool {
	mount, err := cgroup.Find()
	if err != nil || cgroup.CheckName(app) != nil {
		return false
	}
	return mount.Has(app)
}
