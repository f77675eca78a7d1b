package main

import (
	"math"
	"strconv"

	"github.com/sockdist/sockdist/loader"
	"github.com/spf13/cobra"
)

func newWeight(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "weight NAME/SLOT WEIGHT",
		Short: "Give a worker a larger or smaller share (0 to 1000, default 100)",
		Long: `Give a worker a larger or smaller share: its score is divided by its weight. Weights
go from 0 to 1000, the default is 100, and 0 drains.`,
		Example: `  sockdist weight web/0 50    # half of what the others get
  sockdist weight web/0 100   # as much as the others again`,
		Args:              usage(cobra.ExactArgs(2)),
		ValidArgsFunction: completeThen(env, completeSlots),
		RunE: func(_ *cobra.Command, args []string) error {
			weight, err := strconv.Atoi(args[1])
			if err != nil || weight < 0 || weight > loader.MaxWeight {
				return usagef("weight %q: must be a whole number from 0 to %d", args[1], loader.MaxWeight)
			}
			return env.eachSlot(args[0], func(g *loader.Group, slot int) error { return g.SetWeight(slot, weight) })
		},
	}
}

func newMaxconn(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "maxconn NAME/SLOT CONNECTIONS",
		Short: "Limit how many connections a worker may have (0: no limit)",
		Long: `Limit how many connections a worker may have, unfinished handshakes included; 0 takes
the limit away. Full workers are passed over; when all live workers are full,
new connections are refused at once and counted.`,
		Example: `  sockdist maxconn web/0 500
  sockdist maxconn web/0 0`,
		Args:              usage(cobra.ExactArgs(2)),
		ValidArgsFunction: completeThen(env, completeSlots),
		RunE: func(_ *cobra.Command, args []string) error {
			limit, err := strconv.ParseUint(args[1], 10, 32)
			if err != nil || limit == math.MaxUint32 {
				return usagef("limit %q: must be a whole number, 0 for none", args[1])
			}
			return env.eachSlot(args[0], func(g *loader.Group, slot int) error { return g.SetMax(slot, uint32(limit)) })
		},
	}
}
