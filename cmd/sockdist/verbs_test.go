package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sockdist/sockdist/loader"
	"github.com/spf13/cobra"
)

func testEnvironment() *environment {
	return &environment{out: new(strings.Builder), err: new(strings.Builder), getenv: func(string) string { return "" }}
}

// nowhere is a pin folder that can't be: not on bpffs, and not to be made.
const nowhere = "/proc/no-such-folder"

// eachVerb runs a test for all commands, those of others too, and so the hidden ones.
func eachVerb(t *testing.T, test func(*testing.T, *cobra.Command)) {
	root := newRoot(testEnvironment())
	root.InitDefaultHelpCmd()
	for _, verb := range root.Commands() {
		t.Run(verb.Name(), func(t *testing.T) { test(t, verb) })
	}
}

func TestEveryVerbHasHelp(t *testing.T) {
	eachVerb(t, func(t *testing.T, verb *cobra.Command) {
		for _, line := range [][]string{{verb.Name(), "--help"}, {verb.Name(), "-h"}, {"help", verb.Name()}} {
			a := sockdist(t, nowhere, line...)
			if a.code != exitDone || a.err != "" || !strings.Contains(a.out, "Usage:\n  sockdist "+verb.Name()) {
				t.Errorf("%v: %+v", line, a)
			}
		}
		if verb.Short == "" || strings.HasSuffix(verb.Short, ".") || strings.ToUpper(verb.Short[:1]) != verb.Short[:1] {
			t.Errorf("its line in the list should be one sentence without a full stop: %q", verb.Short)
		}
		for line := range strings.Lines(verb.Long) {
			if len([]rune(line)) > 101 {
				t.Errorf("a line of its help is too long: %q", line)
			}
		}
	})
}

func TestEveryVerbHasExamples(t *testing.T) {
	eachVerb(t, func(t *testing.T, verb *cobra.Command) {
		if verb.Hidden {
			t.Skip("hidden")
		}
		if verb.Example == "" {
			t.Fatal("no example")
		}
		for line := range strings.Lines(verb.Example) {
			if !strings.HasPrefix(line, "  ") || strings.HasPrefix(line, "\t") {
				t.Errorf("examples are indented by two spaces: %q", line)
			}
		}
		if !strings.Contains(verb.Example, "sockdist "+verb.Name()) {
			t.Errorf("its examples don't show it: %s", verb.Example)
		}
	})
}

func TestEveryFlagIsExplained(t *testing.T) {
	eachVerb(t, func(t *testing.T, verb *cobra.Command) {
		for line := range strings.Lines(verb.LocalFlags().FlagUsages()) {
			if len(strings.Fields(line)) < 3 {
				t.Errorf("says little: %q", line)
			}
		}
	})
}

// wrong are mistakes that every verb must call wrong usage, before it does anything.
var wrong = [][]string{
	{"--no-such-flag"},
	{"--no-such-flag=1", "x"},
	{"-?"},
	{"--verbose=maybe"},
	{"--dir"},
	{"a", "b", "c", "d", "e", "--no-such-flag"},
}

func TestEveryVerbRefusesWrongUsage(t *testing.T) {
	eachVerb(t, func(t *testing.T, verb *cobra.Command) {
		for _, args := range wrong {
			checkUsageError(t, sockdist(t, nowhere, append([]string{verb.Name()}, args...)...), args)
		}
		if verb.Flags().Lookup("json") != nil {
			args := []string{"--json=maybe"}
			checkUsageError(t, sockdist(t, nowhere, append([]string{verb.Name()}, args...)...), args)
		}
		// No verb takes that many arguments, but for those that take a command after --.
		if many := strings.Fields(strings.Repeat("argument ", 40)); verb.Name() != "help" && !takesMany(verb) {
			checkUsageError(t, sockdist(t, nowhere, append([]string{verb.Name()}, many...)...), many)
		}
	})
}

func takesMany(verb *cobra.Command) bool {
	return strings.Contains(verb.Use, "...") && !strings.Contains(verb.Use, "-- ")
}

// checkUsageError wants exit code 2, nothing on standard output, and one line that says what is wrong.
func checkUsageError(t *testing.T, a answer, args []string) {
	t.Helper()
	if a.code != exitUsage || a.out != "" || strings.Count(a.err, "\n") != 1 || !strings.HasPrefix(a.err, "sockdist: ") || strings.Contains(a.err, "Usage:") {
		t.Errorf("%v: exit code %d, out %q, err %q", args, a.code, a.out, a.err)
	}
}

func TestUnknownVerbs(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"stauts", `unknown command "stauts"; did you mean status?`},
		{"stat", `unknown command "stat"; did you mean stop or status?`},
		{"ls", `unknown command "ls"; did you mean status?`},
		{"undrian", `unknown command "undrian"; did you mean undrain?`},
		{"frobnicate", `unknown command "frobnicate"; sockdist help lists all`},
		{"help stauts", `unknown command "stauts"; did you mean status?`},
		{"help drain now", `unknown command "now"; sockdist help lists all`},
		{"completion", "completion: name one shell: bash, zsh or fish"},
		{"completion tcsh", "completion: name one shell: bash, zsh or fish"},
	} {
		a := sockdist(t, nowhere, strings.Fields(c.line)...)
		checkUsageError(t, a, []string{c.line})
		if a.err != "sockdist: "+c.want+"\n" {
			t.Errorf("%s: %q, want %q", c.line, a.err, c.want)
		}
	}
}

// Without pins the verbs that need some must say so in one line, and say that it is not the usage.
func TestVerbsWithoutPins(t *testing.T) {
	for _, line := range []string{"status", "status web", "drain web/1", "undrain web/1", "policy web least", "weight web/1 5", "maxconn web/1 5"} {
		a := sockdist(t, nowhere, strings.Fields(line)...)
		if a.code != exitFailed && a.code != exitUnsupported || a.out != "" || strings.Count(a.err, "\n") != 1 {
			t.Errorf("%s: %+v", line, a)
		}
	}
}

// A name that is empty, as of a variable nobody set, must not mean all.
func TestEmptyNames(t *testing.T) {
	dir := newDir(t)
	newGroup(t, dir, loader.GroupSpec{Name: "web", Address: netip.MustParseAddrPort("127.0.0.1:1")}, listenShared(t, "tcp4", "127.0.0.1:0", 1)...)
	for _, args := range [][]string{{"policy", "", "rr"}, {"drain", "/0"}, {"weight", "/0", "0"}, {"maxconn", "/0", "1"}} {
		if a := sockdist(t, dir, args...); a.code == exitDone {
			t.Errorf("%q: %+v", args, a)
		}
	}
	if g := statusJSON(t, dir).Groups[0]; g.Policy != "least" || g.Slots[0].State != "live" || g.Slots[0].Weight != 100 || g.Slots[0].Max != 0 {
		t.Errorf("changed: %+v", g)
	}
}
