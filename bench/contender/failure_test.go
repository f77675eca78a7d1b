package contender

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What can't start says why, soon, and leaves nothing.
func TestFailuresToStart(t *testing.T) {
	for name, begin := range map[string]func(*Setup, context.Context, Command) (*Fleet, error){
		"shared":    (*Setup).overShared,
		"reuseport": (*Setup).overReuseport,
		"sockdist": func(s *Setup, ctx context.Context, c Command) (*Fleet, error) {
			return s.underSockdist(ctx, "least", c)
		},
		"prefork": func(s *Setup, ctx context.Context, c Command) (*Fleet, error) { return s.preforking(ctx, c.Args...) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t, 2)
			began := time.Now()
			f, err := begin(s, t.Context(), Command{Args: []string{"sh", "-c", "echo it is broken; exit 3"}})
			if err == nil {
				t.Fatal("it started", f)
			}
			if !strings.Contains(err.Error(), "it is broken") {
				t.Errorf("%v", err)
			}
			if took := time.Since(began); took > patience/2 {
				t.Errorf("it took %v", took)
			}
			if left, err := s.Leaf.Procs(); err != nil || len(left) > 0 {
				t.Errorf("%v are left, %v", left, err)
			}
			noPins(t)
		})
	}
}

// Steering that is put over a fleet goes with it.
func TestAttach(t *testing.T) {
	s := newSetup(t, 3)
	f := start(t, "go-reuseport", s)
	if err := s.attach(t.Context(), f, "rr"); err != nil {
		t.Fatal(err)
	}
	seen := make(map[int]int)
	for range 9 {
		pid, err := Ask(f.Address, "/")
		if err != nil {
			t.Fatal(err)
		}
		seen[pid]++
	}
	for pid, n := range seen {
		if len(seen) != 3 || n != 3 {
			t.Errorf("worker %d answered %d of 9 requests", pid, n)
		}
	}
	if err := s.attach(t.Context(), f, "nonsense"); err == nil {
		t.Error("there is a policy nonsense")
	}
}

func TestRootIsFoundFromBelow(t *testing.T) {
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "bench", "peers", "go", "go.mod")); err != nil {
		t.Error(err)
	}
	t.Chdir(filepath.Join(root, "bench", "peers", "go", "app")) // another module
	if again, err := Root(); err != nil || again != root {
		t.Errorf("%s, %v; want %s", again, err, root)
	}
	t.Chdir(t.TempDir())
	if _, err := Root(); err == nil {
		t.Error("a temporary folder is in a checkout")
	}
}
