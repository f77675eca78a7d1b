package main

import (
	"strconv"

	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/wire"
	"github.com/spf13/cobra"
)

func newScale(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "scale NAME N",
		Short: "Change the number of an app's workers, without losing a connection",
		Long: `Change the number of an app's workers, without losing a connection. New workers
get connections when they are ready; then it returns. When there are too many,
those with the fewest connections get no new ones, and end when they have none
left or run's --grace is over.`,
		Example:           "  sockdist scale web 8",
		Args:              usage(cobra.ExactArgs(2)),
		ValidArgsFunction: completeThen(env, completeApps),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.Atoi(args[1])
			if err != nil || n < 1 || n > control.MaxWorkers {
				return usagef("scale: %q workers: must be 1 to %d", args[1], control.MaxWorkers)
			}
			return env.ask(cmd.Context(), args[0], wire.Request{Verb: wire.Scale, Workers: n})
		},
	}
}
