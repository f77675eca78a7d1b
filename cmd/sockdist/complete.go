package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// A completer offers what can stand at one place of a command line.
type completer func(*environment) []string

// completeThen completes the first argument by first, and the others from fixed lists.
func completeThen(env *environment, first completer, then ...[]string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		switch n := len(args); {
		case n == 0:
			return first(env), cobra.ShellCompDirectiveNoFileComp
		case n <= len(then):
			return then[n-1], cobra.ShellCompDirectiveNoFileComp
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}

func completeGroups(env *environment) (names []string) {
	host, err := env.host()
	if err != nil {
		return nil
	}
	groups, _ := host.Groups()
	apps, _ := host.Apps()
	return append(groups, apps...)
}

func completeApps(env *environment) []string {
	host, err := env.host()
	if err != nil {
		return nil
	}
	apps, _ := host.Apps()
	return apps
}

func completeSlots(env *environment) (slots []string) {
	host, err := env.host()
	if err != nil {
		return nil
	}
	groups, err := allGroups(host)
	if err != nil {
		return nil
	}
	defer closeGroups(groups)
	for _, g := range groups {
		s, err := g.Snapshot()
		if err != nil {
			continue
		}
		for _, slot := range s.Slots {
			slots = append(slots, fmt.Sprintf("%s/%d", g.Name(), slot.Slot))
		}
	}
	return slots
}
