package main

import (
	"context"
	"io"
	"os"

	"github.com/sockdist/sockdist/loader"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// An environment is what a verb knows of the world around it.
type environment struct {
	out, err io.Writer
	terminal bool // out is a terminal
	getenv   func(string) string

	dir     string // pin folder; "" for the machine's own
	verbose bool
}

// dirVariable names the environment variable for another pin folder. Tests, and
// two sockdists on one machine that shall not know of each other, use it.
const dirVariable = "SOCKDIST_DIR"

// host opens the pin folder.
func (e *environment) host() (*loader.Host, error) {
	host, err := loader.Open(loader.Options{Dir: e.dir})
	return host, explainClosed("the pin folder", err)
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, env environment, args []string) int {
	root := newRoot(&env)
	root.SetArgs(args)
	root.SetOut(env.out)
	root.SetErr(env.err)
	return report(&env, root.ExecuteContext(ctx))
}

func newRoot(env *environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "sockdist",
		Short: "Give each new connection to the least-loaded worker, in the kernel",
		Long: `sockdist puts worker processes behind one port and lets the kernel hand each new
connection to the least-loaded one. Servers need no change; nothing stands
between them and their clients.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 this kernel or this user can't.`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		Args:              unknownVerb,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Example: `  sudo sockdist doctor
  sudo sockdist run -n 4 -- node app.js
  sudo sockdist status`,

		SuggestionsMinimumDistance: 2,
	}
	root.PersistentFlags().BoolVar(&env.verbose, "verbose", false, "say more, such as the verifier's log when a program is refused")
	root.PersistentFlags().StringVar(&env.dir, "dir", env.getenv(dirVariable), "pin folder on bpffs (default sockdist in the machine's own; also $"+dirVariable+")")
	root.SetFlagErrorFunc(explainFlag)
	root.SetHelpCommand(newHelp(env))
	for _, verb := range verbs {
		cmd := verb(env)
		addRights(cmd)
		root.AddCommand(cmd)
	}
	return root
}

// verbs makes the commands, in the order of the help.
var verbs = []func(*environment) *cobra.Command{
	newRun,
	newRelay,
	newReload,
	newScale,
	newStop,
	newServe,
	newCheck,
	newApply,
	newDemo,
	newDemoWorker,
	newAttach,
	newDetach,
	newStatus,
	newPolicy,
	newDrain,
	newUndrain,
	newWeight,
	newMaxconn,
	newProbe,
	newDoctor,
	newCompletion,
	newMan,
	newVersion,
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
