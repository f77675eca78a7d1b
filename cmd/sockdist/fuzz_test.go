package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/sockdist/sockdist/loader"
	"github.com/spf13/cobra"
)

func FuzzParseSlot(f *testing.F) {
	for _, text := range []string{"web/0", "web/255", "web/256", "a/b/3", ":80/1", "[::1]:80/7", "/", "", "web/-1", "web/+1", "web/1 ", "web/٣", "web/0x1", "/5"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		name, slot, err := parseSlot(text)
		if err != nil {
			var wrong usageError
			if !errors.As(err, &wrong) || name != "" || slot != 0 || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%q: %q, %d, %v", text, name, slot, err)
			}
			return
		}
		if slot < 0 || slot >= loader.MaxSlots || !strings.HasPrefix(text, name+"/") {
			t.Fatalf("%q: %q, %d", text, name, slot)
		}
		if again, n, err := parseSlot(fmt.Sprintf("%s/%d", name, slot)); err != nil || again != name || n != slot {
			t.Fatalf("%q became %q, %d, %v", text, again, n, err)
		}
	})
}

// harmless are the verbs that do nothing but to pins; the others are only parsed.
var harmless = []string{"policy", "drain", "undrain", "weight", "maxconn", "status", "version", "completion", "help"}

// FuzzArguments gives any command line to sockdist, an argument a line. Nothing
// is touched: the pin folder can't be, whatever the arguments say.
func FuzzArguments(f *testing.F) {
	for _, line := range []string{
		"", "help run", "status --json", "drain web/1", "weight web/1 50", "weight web/0 -5", "maxconn :80/3 0", "policy tcp6://[::1]:80 hash", "completion zsh",
		"run -n 4 --policy p2c --port 80 --env A=B -- node app.js", "run -n", "attach :80 --pid 1 --pid 2", "detach web", "demo --duration 1s", "doctor --json",
		"--dir", "--dir= status", "-- status", "status --", "--verbose=1 version", "-h", "stauts", "man /", "__complete status ",
	} {
		f.Add(strings.ReplaceAll(line, " ", "\n"))
	}
	f.Fuzz(func(t *testing.T, lines string) {
		code, out, errs := parseOnly(t.Context(), strings.Split(lines, "\n"))
		if code < exitDone || code > exitUnsupported {
			t.Fatalf("%q: exit code %d", lines, code)
		}
		if code == exitDone {
			return
		}
		if strings.Count(errs, "\n") != 1 || !strings.HasPrefix(errs, "sockdist: ") {
			t.Fatalf("%q: exit code %d, out %q, err %q", lines, code, out, errs)
		}
	})
}

// parseOnly executes a command line as far as it is harmless.
func parseOnly(ctx context.Context, args []string) (code int, out, errs string) {
	if slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "__complete") || arg == "--watch" }) {
		return exitDone, "", ""
	}
	var stdout, stderr strings.Builder
	env := environment{out: &stdout, err: &stderr, getenv: func(string) string { return "" }}
	root := newRoot(&env)
	for _, verb := range root.Commands() {
		if !slices.Contains(harmless, verb.Name()) {
			verb.RunE = func(*cobra.Command, []string) error { return nil }
		}
	}
	root.PersistentPreRun = func(*cobra.Command, []string) { env.dir = nowhere }
	root.SetArgs(args)
	root.SetOut(io.Discard)
	root.SetErr(&stderr)
	code = report(&env, root.ExecuteContext(ctx))
	return code, stdout.String(), stderr.String()
}
