package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"

	"github.com/sockdist/sockdist/userspace/config"
	"github.com/spf13/cobra"
)

func newCheck(env *environment) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say whether a configuration of serve is right",
		Long: `Read a configuration of sockdist serve, and say all that is wrong with it, a line
each: FILE:LINE:COLUMN: what it is about: what is wrong and what to do. Nothing is
touched, and no privilege is needed; users and groups are looked for on this
machine. Exit code 0 if it is right, 1 if it isn't.

A command that isn't there is a warning only: it may be there when it is needed.

packaging/sockdist.yaml in the sources is an example with every section, and
docs/OPERATING.md describes them.`,
		Example: "  sockdist check /etc/sockdist/sockdist.yaml",
		Args:    usage(cobra.ExactArgs(1)),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return []cobra.Completion{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(_ *cobra.Command, args []string) error { return env.check(args[0], asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// errBadConfig is for a file whose problems were printed.
var errBadConfig = errors.New("the configuration is not right, see above")

// checked is what check --json prints.
type checked struct {
	File     string          `json:"file"`
	OK       bool            `json:"ok"`
	Errors   config.Problems `json:"errors"`
	Warnings config.Problems `json:"warnings"`
	Apps     []string        `json:"apps"`
	Groups   []string        `json:"groups"`
	Attach   []string        `json:"attach"`
}

func (e *environment) check(path string, asJSON bool) error {
	file, err := config.Load(path)
	var problems config.Problems
	if err != nil && !errors.As(err, &problems) {
		return fmt.Errorf("read the configuration: %w", err)
	}
	result := checked{File: path, OK: err == nil, Errors: config.Problems{}, Warnings: config.Problems{},
		Apps: []string{}, Groups: []string{}, Attach: []string{}}
	if err != nil {
		result.Errors = problems
	} else {
		result.Warnings = append(result.Warnings, missingCommands(file)...)
		apps, groups, attach := file.Names()
		result.Apps, result.Groups, result.Attach = append(result.Apps, apps...), append(result.Groups, groups...), append(result.Attach, attach...)
	}
	if asJSON {
		encoder := json.NewEncoder(e.out)
		encoder.SetEscapeHTML(false)
		err = encoder.Encode(result)
	} else {
		err = e.writeChecked(result)
	}
	if err == nil && !result.OK {
		return errBadConfig
	}
	return err
}

func (e *environment) writeChecked(c checked) error {
	for _, p := range c.Errors {
		fmt.Fprintln(e.err, p.Error())
	}
	for _, p := range c.Warnings {
		fmt.Fprintf(e.err, "warning: %v\n", p)
	}
	if !c.OK {
		return nil
	}
	_, err := fmt.Fprintf(e.out, "%s: right: %s, %s, %s\n", c.File,
		count(len(c.Apps), "app"), count(len(c.Groups), "group"), count(len(c.Attach), "attachment"))
	return err
}

// missingCommands are of apps that could not be started now.
func missingCommands(file *config.File) (missing config.Problems) {
	for _, a := range file.Apps {
		if _, err := exec.LookPath(a.Command[0]); err != nil {
			missing = append(missing, &config.Problem{File: file.Path, Mark: a.Mark, Key: "apps." + a.Name,
				Text: fmt.Sprintf("its command can't be run here: %v", err)})
		}
	}
	return missing
}
