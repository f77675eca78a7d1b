package main

import (
	"github.com/sockdist/sockdist/userspace/wire"
	"github.com/spf13/cobra"
)

func newReload(env *environment) *cobra.Command {
	var atOnce bool
	cmd := &cobra.Command{
		Use:   "reload NAME",
		Short: "Replace every worker of an app by a new one, without losing a connection",
		Long: `Replace every worker of an app by a new one, without losing a connection. A new
worker gets connections when it listens wherever its predecessor did, and, with
run --ready, answers. Only then the old one gets none any more; it is sent
SIGTERM when it has none left, or when run's --grace is over. Weights and limits
that were set for it go over to the new one, a drain doesn't.

If a new worker doesn't get ready within run's --ready-timeout it is stopped, the
old ones serve on, and reload fails with the worker's last output. Reload returns
when all new workers serve; old ones may still finish what they have.

SIGHUP to the supervisor does the same.`,
		Example:           "  sockdist reload web",
		Args:              usage(cobra.ExactArgs(1)),
		ValidArgsFunction: completeThen(env, completeApps),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.ask(cmd.Context(), args[0], wire.Request{Verb: wire.Reload, AtOnce: atOnce})
		},
	}
	cmd.Flags().BoolVar(&atOnce, "all-at-once", false, "start all new workers beside the old ones, not one after the other")
	return cmd
}
