package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// The commands are listed in the order of verbs.
func init() { cobra.EnableCommandSorting = false }

func newHelp(*environment) *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Help about a command",
		Example: "  sockdist help run",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, begun string) (names []cobra.Completion, _ cobra.ShellCompDirective) {
			if len(args) == 0 {
				for _, verb := range visible(cmd.Root()) {
					if strings.HasPrefix(verb.Name(), begun) {
						names = append(names, cobra.CompletionWithDesc(verb.Name(), verb.Short))
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err == nil && len(rest) > 0 {
				err = unknownVerb(cmd.Root(), rest)
			}
			if err != nil {
				return err
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// visible are the commands that help lists.
func visible(root *cobra.Command) (verbs []*cobra.Command) {
	for _, verb := range root.Commands() {
		if verb.IsAvailableCommand() {
			verbs = append(verbs, verb)
		}
	}
	return verbs
}

// unknownVerb is the error of a command that isn't there, and says which ones are like it.
func unknownVerb(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	near := root.SuggestionsFor(args[0])
	if len(near) == 0 {
		return usagef("unknown command %q; sockdist help lists all", args[0])
	}
	return usagef("unknown command %q; did you mean %s?", args[0], strings.Join(near, " or "))
}

// explainFlag is the error of a flag that isn't there or has no such value.
func explainFlag(cmd *cobra.Command, err error) error {
	return usagef("%w; %s --help lists the flags", err, cmd.CommandPath())
}
