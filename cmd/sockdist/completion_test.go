package main

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/sockdist/sockdist/loader"
)

// Each shell must be able to read its script; those that aren't installed are left out.
func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		t.Run(shell, func(t *testing.T) {
			a := sockdist(t, "", "completion", shell)
			if a.code != exitDone || !strings.Contains(a.out, "sockdist") {
				t.Fatalf("%+v", a)
			}
			path, err := exec.LookPath(shell)
			if err != nil {
				t.Skip(err)
			}
			parse := exec.Command(path, "-n")
			parse.Stdin = strings.NewReader(a.out)
			if out, err := parse.CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// complete is what the shell gets for a command line whose last word is being typed.
func complete(t *testing.T, dir string, words ...string) string {
	t.Helper()
	a := sockdist(t, dir, append([]string{"__completeNoDesc"}, words...)...)
	if a.code != exitDone {
		t.Fatalf("%+v", a)
	}
	offers, _, _ := strings.Cut(a.out, ":")
	return strings.Join(strings.Fields(offers), " ")
}

func TestCompletionOfNames(t *testing.T) {
	dir := newDir(t)
	newGroup(t, dir, loader.GroupSpec{Name: "web", Address: netip.MustParseAddrPort("127.0.0.1:1")}, listenShared(t, "tcp4", "127.0.0.1:0", 2)...)
	for _, c := range []struct{ line, want string }{
		{"status ", "web"},
		{"policy ", "web"},
		{"policy web ", "least p2c rr random hash"},
		{"drain ", "web/0 web/1"},
		{"completion ", "bash zsh fish"},
		{"stat", "status"},
		{"help dra", "drain"},
		{"help drain ", ""},
		{"doctor ", ""},
	} {
		if got := complete(t, dir, strings.Split(c.line, " ")...); got != c.want {
			t.Errorf("%q: %q, want %q", c.line, got, c.want)
		}
	}
}

func TestCompletionWithoutPins(t *testing.T) {
	for _, line := range []string{"status ", "drain ", "policy "} {
		if got := complete(t, "/proc/no-such-folder", strings.Split(line, " ")...); got != "" {
			t.Errorf("%q: %q", line, got)
		}
	}
}
