package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/sockdist/sockdist/loader"
)

// The scripts in testdata say what the command line is like, in its own words.
// Those in testdata/pins have a pin folder with
//
//	web  two slots on 127.0.0.1, steered, two connections each
//	db   an empty group of [::1]:5432
//
// and the address of web as $WEB. A command beside those of testscript is
//
//	exits CODE COMMAND [ARGUMENT]...
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		Condition: func(condition string) (bool, error) {
			if condition != "root" {
				return false, fmt.Errorf("unknown condition %q", condition)
			}
			return os.Geteuid() == 0 && !readRights().lacks(), nil
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv(dirVariable, nowhere)
			env.Setenv("GORACE", noSleep)
			return nil
		},
	})
}

func TestScriptsOnPins(t *testing.T) {
	scripts, err := filepath.Glob("testdata/pins/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatal(scripts, err)
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".txt"), func(t *testing.T) {
			dir, web := pinsForScript(t)
			testscript.Run(t, testscript.Params{
				Files:               []string{script},
				RequireExplicitExec: true,
				Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
				Setup: func(env *testscript.Env) error {
					env.Setenv(dirVariable, dir)
					env.Setenv("GORACE", noSleep)
					env.Setenv("WEB", web)
					return nil
				},
			})
		})
	}
}

func pinsForScript(t *testing.T) (dir, web string) {
	t.Helper()
	dir = newDir(t)
	listeners := listenShared(t, "tcp4", "127.0.0.1:0", 2)
	g := newGroup(t, dir, loader.GroupSpec{Name: "web"}, listeners...)
	steer(t, g, listeners[0])
	for range 4 {
		dial(t, listeners[0])
	}
	until(t, "four connections", func() bool {
		s, err := g.Snapshot()
		return err == nil && s.Slots[0].Connections == 2 && s.Slots[1].Connections == 2
	})
	newGroup(t, dir, loader.GroupSpec{Name: "db", Address: netip.MustParseAddrPort("[::1]:5432")})
	return dir, listeners[0].Addr().String()
}

// exits wants a command to end with an exit code. What it printed is for stdout and stderr to look at.
func exits(ts *testscript.TestScript, negated bool, args []string) {
	if negated || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARGUMENT]...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	err = ts.Exec(args[1], args[2:]...)
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended):
		code = ended.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}
