package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/sockdist/sockdist/userspace/config"
	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/wire"
	"github.com/sockdist/sockdist/userspace/worker"
	"github.com/spf13/cobra"
)

func newApply(env *environment) *cobra.Command {
	var check bool
	var socket string
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Have the daemon read its configuration again",
		Long: `Have sockdist serve read its file again, and change what differs from what was
applied before, and nothing else; SIGHUP to it does the same. What is done is
said, a line each.

A file that isn't right changes nothing: its problems are printed, exit code 1.
When a change fails, all others are done, the exit code is 1, and what isn't as
the file says is printed; apply again when its cause is mended.

  app          a changed number of workers scales it, a changed policy is set
               on its groups; other keys have another supervisor take the workers
               over, and where the workers themselves are concerned (command,
               env …), replace them one after the other. No connection is
               lost by these. Changed ports, udp, user or activation end it and
               start it anew
  group        another address removes it and makes it anew
  attachment   another address or namespace detaches it, and attaches the other

It takes root, the daemon's user, or an operator of the configuration.`,
		Example: `  sockdist apply --check
  sockdist apply`,
		Args:              usage(cobra.NoArgs),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if socket == "" {
				socket = env.daemonSocket()
			}
			return env.apply(cmd.Context(), socket, check)
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "only say what would be changed")
	cmd.Flags().StringVar(&socket, "socket", "", "the daemon's socket (default $"+worker.SocketVariable+", else control in the runtime folder)")
	return cmd
}

// daemonSocket is where sockdist serve takes requests, as far as is known here.
func (e *environment) daemonSocket() string {
	if socket := e.getenv(worker.SocketVariable); socket != "" {
		return socket
	}
	runtime := e.getenv(runtimeVariable)
	if runtime == "" {
		runtime = control.DefaultRuntimeDir
	}
	return runtime + "/" + config.SocketName
}

func (e *environment) apply(ctx context.Context, socket string, check bool) error {
	err := wire.Call(ctx, socket, wire.Request{Verb: wire.Apply, Check: check}, func(text string) { fmt.Fprintln(e.out, text) })
	var refused *wire.Refusal
	switch {
	case errors.As(err, &refused):
		return &refusedError{verb: "apply", Refusal: refused}
	case errors.Is(err, wire.ErrNobody):
		return fmt.Errorf("no sockdist serve runs, or it has another socket (--socket): %w", err)
	case errors.Is(err, wire.ErrGone):
		return fmt.Errorf("apply: %w: when it runs again it applies its file", err)
	}
	return err
}
