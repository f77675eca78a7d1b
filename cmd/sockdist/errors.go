package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/control"
	"github.com/spf13/cobra"
)

const (
	exitDone = iota
	exitFailed
	exitUsage
	exitUnsupported
)

// A usageError is a mistake in the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// usage makes cobra's complaints about arguments usage errors.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{fmt.Errorf("%w; usage: %s", err, cmd.UseLine())}
		}
		return nil
	}
}

// report prints an error as one line, here and nowhere else, and tells the exit code.
func report(env *environment, err error) int {
	if err == nil {
		return exitDone
	}
	fmt.Fprintln(env.err, "sockdist:", printable(oneLine(err)))
	if lines := lastWords(err); len(lines) > 0 {
		for _, line := range lines { // a worker's, who could have the terminal do things
			fmt.Fprintln(env.err, "  "+printable(line))
		}
	}
	var verifier *ebpf.VerifierError
	if env.verbose && errors.As(err, &verifier) {
		fmt.Fprintf(env.err, "%+v\n", verifier)
	}
	return exitCode(err)
}

func exitCode(err error) int {
	var wrong usageError
	switch {
	case errors.As(err, &wrong), strings.HasPrefix(err.Error(), "unknown command"):
		return exitUsage
	case errors.Is(err, loader.ErrNotSupported):
		return exitUnsupported
	}
	return exitFailed
}

func oneLine(err error) string {
	var failed *control.StartError
	if errors.As(err, &failed) && len(failed.Output) > 0 {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return first
	}
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' }), "; ")
}
