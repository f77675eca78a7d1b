package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sockdist/sockdist/loader"
	"github.com/spf13/cobra"
)

func newDoctor(env *environment) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:        "doctor",
		SuggestFor: []string{"check", "diagnose"},
		Short:      "Find out whether this kernel and this user can do it, and if not, why",
		Long: `Find out whether this kernel and this user can do it, and if not, why and what to
do about it. Each line is

  ok    as it should be
  warn  works, but something else would be better
  fail  must be changed

It tries the real thing: every BPF program is loaded and attached, and a small
group gets connections, in namespaces of its own. Nothing is left behind, and
nothing that runs on this machine notices. With --verbose each feature of the
kernel is a line of its own.

Exit code 3 if a line says fail.`,
		Example: `  sudo sockdist doctor
  sockdist doctor --json | jq -r '.checks[] | select(.level != "ok") | .name'`,
		Args:              usage(cobra.NoArgs),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			return env.doctor(asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON: {\"works\",\"version\",\"kernel\",\"checks\":[{\"name\",\"level\",\"found\",\"advice\"}]}")
	return cmd
}

func (e *environment) doctor(asJSON bool) error {
	d := examine(e.verbose || asJSON)
	if asJSON {
		if err := d.writeJSON(e.out); err != nil {
			return err
		}
	} else if err := d.writeText(e.out, newPaint(e)); err != nil {
		return err
	}
	return d.verdict()
}

// A diagnosis is all that was found.
type diagnosis struct {
	Works   bool    `json:"works"`
	Version string  `json:"version"`
	Kernel  string  `json:"kernel"`
	Checks  []check `json:"checks"`

	rights rights
	cause  error // what is wrong with the features
}

// A check is one line of the diagnosis.
type check struct {
	Name   string `json:"name"`
	Level  level  `json:"level"`
	Found  string `json:"found"`
	Advice string `json:"advice,omitempty"` // what to do; empty if there is nothing to be done
}

type level string

const (
	levelOK   level = "ok"
	levelWarn level = "warn"
	levelFail level = "fail"
)

// examine makes all checks; each feature is one of its own if detailed.
func examine(detailed bool) *diagnosis {
	rights := readRights()
	d := &diagnosis{Version: versionText(), Kernel: kernelRelease(), rights: rights}
	features := loader.Features()
	d.add(checkKernel(d.Kernel))
	d.add(checkFeatures(features, d.Kernel, rights, detailed)...)
	d.add(checkBPFFS(), checkCgroup(), checkPidfd())
	d.add(checkRights(rights)...)
	d.add(checkGuards(rights)...)
	d.add(checkContainer(rights))
	d.add(checkSettings()...)
	d.Works = d.count(levelFail) == 0
	for _, f := range features {
		d.cause = errors.Join(d.cause, f.Err)
	}
	return d
}

func (d *diagnosis) add(checks ...check) { d.Checks = append(d.Checks, checks...) }

func (d *diagnosis) count(l level) (n int) {
	for _, c := range d.Checks {
		if c.Level == l {
			n++
		}
	}
	return n
}

// verdict is nil if it works.
func (d *diagnosis) verdict() error {
	switch {
	case d.Works:
		return nil
	case d.rights.uid != 0 && d.rights.lacks():
		return cannotWork{fmt.Sprintf("doctor: can't work as uid %d: run as root (sudo)", d.rights.uid), nil}
	}
	var failed []string
	for _, c := range d.Checks {
		if c.Level == levelFail && !slices.Contains(failed, c.Name) {
			failed = append(failed, c.Name)
		}
	}
	return cannotWork{"doctor: can't work here: see the lines with fail, on " + strings.Join(failed, ", "), d.cause}
}

// cannotWork is the verdict that this kernel or this user can't.
type cannotWork struct {
	text  string
	cause error
}

func (e cannotWork) Error() string   { return e.text }
func (e cannotWork) Unwrap() []error { return []error{loader.ErrNotSupported, e.cause} }

func (d *diagnosis) writeJSON(out io.Writer) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(d)
}

func (d *diagnosis) writeText(out io.Writer, paint paint) error {
	width := 0
	for _, c := range d.Checks {
		width = max(width, len(c.Name))
	}
	var text strings.Builder
	for _, c := range d.Checks {
		fmt.Fprintf(&text, "%s  %-*s  %s\n", paint.level(c.Level), width, c.Name, c.Found)
		if c.Advice != "" {
			fmt.Fprintf(&text, "      %*s  do: %s\n", width, "", c.Advice)
		}
	}
	if d.Works {
		fmt.Fprintln(&text, "\n"+d.summary())
	}
	_, err := io.WriteString(out, text.String())
	return err
}

func (d *diagnosis) summary() string {
	switch n := d.count(levelWarn); n {
	case 0:
		return "sockdist works here."
	case 1:
		return "sockdist works here; one thing could be better, see the line with warn."
	default:
		return fmt.Sprintf("sockdist works here; %d things could be better, see the lines with warn.", n)
	}
}
