package main

import (
	"github.com/spf13/cobra"
)

func newCompletion(env *environment) *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print what makes a shell complete commands, names and flags",
		Long: `Print a script that makes a shell complete commands, flags, and the names of
groups, apps and slots. To have it in every new shell:

  bash  sockdist completion bash > /usr/share/bash-completion/completions/sockdist
        (needs the package bash-completion)
  zsh   sockdist completion zsh > "${fpath[1]}/_sockdist"
        (needs "autoload -U compinit; compinit" in ~/.zshrc)
  fish  sockdist completion fish > ~/.config/fish/completions/sockdist.fish

Names of groups can only be completed by users who may read the pins: root.`,
		Example: `  source <(sockdist completion bash)
  sockdist completion fish | source`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs)(cmd, args); err != nil {
				return usagef("completion: name one shell: bash, zsh or fish")
			}
			return nil
		},
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				return cmd.Root().GenBashCompletionV2(env.out, true)
			case "zsh":
				return cmd.Root().GenZshCompletion(env.out)
			}
			return cmd.Root().GenFishCompletion(env.out, true)
		},
	}
}
