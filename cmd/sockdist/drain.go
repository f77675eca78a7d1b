package main

import (
	"github.com/sockdist/sockdist/loader"
	"github.com/spf13/cobra"
)

func newDrain(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "drain NAME/SLOT",
		Short: "Give a worker no new connections; it keeps those it has",
		Long: `Give a worker no new connections; it keeps those it has. The drain holds over a
restart of the worker. If all slots are drained, connections are not refused:
the least-loaded one gets them.`,
		Example: `  sockdist drain web/2
  sockdist drain :8080/2 && sockdist status :8080 --watch`,
		Args:              usage(cobra.ExactArgs(1)),
		ValidArgsFunction: completeThen(env, completeSlots),
		RunE: func(_ *cobra.Command, args []string) error {
			return env.eachSlot(args[0], (*loader.Group).Drain)
		},
	}
}

func newUndrain(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:               "undrain NAME/SLOT",
		Short:             "Give a drained worker new connections again",
		Example:           "  sockdist undrain web/2",
		Args:              usage(cobra.ExactArgs(1)),
		ValidArgsFunction: completeThen(env, completeSlots),
		RunE: func(_ *cobra.Command, args []string) error {
			return env.eachSlot(args[0], (*loader.Group).Undrain)
		},
	}
}
