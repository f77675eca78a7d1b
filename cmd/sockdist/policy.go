package main

import (
	"github.com/sockdist/sockdist/loader"
	"github.com/spf13/cobra"
)

func newPolicy(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "policy NAME POLICY",
		Short: "Change the rule by which connections are given out",
		Long: `Change the policy of a group, or of all groups of an app, for the next connection on.

  least   the worker with the lowest score: (connections + pending + load) / weight
  p2c     the better of two workers
  rr      one after the other, as often as their weights ask
  random  any, as likely as its weight
  hash    by the client's address: a client keeps its worker`,
		Example: `  sockdist policy web p2c
  sockdist policy :8080 hash`,
		Args:              usage(cobra.ExactArgs(2)),
		ValidArgsFunction: completeThen(env, completeGroups, policyNames()),
		RunE: func(_ *cobra.Command, args []string) error {
			policy, err := loader.ParsePolicy(args[1])
			if err != nil {
				return usageError{err}
			}
			return env.eachGroup(args[0], func(g *loader.Group) error { return g.SetPolicy(policy) })
		},
	}
}

func policyNames() (names []string) {
	for _, p := range loader.Policies() {
		names = append(names, p.String())
	}
	return names
}
