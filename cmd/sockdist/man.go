package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// newMan is for the Makefile and for packagers: the pages come from what --help says.
func newMan(*environment) *cobra.Command {
	return &cobra.Command{
		Use:     "man DIR",
		Short:   "Write man pages",
		Long:    "Write a man page for sockdist and one for each command into DIR, which is made if it isn't there.",
		Example: `  sockdist man /usr/local/share/man/man1`,
		Hidden:  true,
		Args:    usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return writeManPages(cmd.Root(), args[0])
		},
	}
}

func writeManPages(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make folder for man pages: %w", err)
	}
	pages := map[string]string{"sockdist.1": rootPage(root)}
	for _, verb := range visible(root) {
		pages["sockdist-"+verb.Name()+".1"] = verbPage(verb)
	}
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("write man page: %w", err)
		}
	}
	return nil
}

func rootPage(root *cobra.Command) string {
	m := newManPage("sockdist", root.Short)
	m.section("SYNOPSIS")
	m.line("sockdist COMMAND [flags] [ARGUMENT]...")
	m.section("DESCRIPTION")
	m.text(root.Long)
	m.section("COMMANDS")
	for _, verb := range visible(root) {
		m.item("sockdist "+verb.Use, verb.Short+fmt.Sprintf(". See sockdist-%s(1).", verb.Name()))
	}
	m.section("OPTIONS")
	m.flags(root.PersistentFlags())
	m.section("EXAMPLES")
	m.text(root.Example)
	m.section("EXIT STATUS")
	m.exitCodes()
	m.section("ENVIRONMENT")
	m.item(dirVariable, "The pin folder, as --dir.")
	m.item("NO_COLOR", "If it is not empty, nothing is coloured.")
	m.section("FILES")
	m.item("/sys/fs/bpf/sockdist/v1/", "Where the programs, maps and links are pinned, if bpffs is mounted at /sys/fs/bpf.")
	return m.String()
}

func verbPage(verb *cobra.Command) string {
	m := newManPage("sockdist-"+verb.Name(), verb.Short)
	m.section("SYNOPSIS")
	m.line(verb.UseLine())
	m.section("DESCRIPTION")
	m.text(describe(verb))
	if verb.LocalNonPersistentFlags().HasAvailableFlags() {
		m.section("OPTIONS")
		m.flags(verb.LocalNonPersistentFlags())
	}
	m.section("OPTIONS OF EVERY COMMAND")
	m.flags(verb.InheritedFlags())
	if verb.Example != "" {
		m.section("EXAMPLES")
		m.text(verb.Example)
	}
	m.section("EXIT STATUS")
	m.exitCodes()
	m.section("SEE ALSO")
	m.line("sockdist(1)")
	return m.String()
}

func describe(verb *cobra.Command) string {
	if verb.Long != "" {
		return verb.Long
	}
	return verb.Short + "."
}
