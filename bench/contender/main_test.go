package contender

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/internal/privilege"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if builtIn != "" {
		os.RemoveAll(builtIn)
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "goroutines left:", err)
		code = 1
	}
	os.Exit(code)
}

var builtIn string // folder

// programs builds what contenders run, once.
var programs = sync.OnceValues(func() (Programs, error) {
	root, err := Root()
	if err != nil {
		return Programs{}, err
	}
	if builtIn, err = os.MkdirTemp("", "contender-"); err != nil {
		return Programs{}, err
	}
	// Looked at, so that a cached result is only good for the same sources.
	sources, _ := filepath.Glob(filepath.Join(root, "bench/peers/go/*/*.go"))
	for _, file := range sources {
		if _, err := os.ReadFile(file); err != nil {
			return Programs{}, err
		}
	}
	return Build(context.Background(), root, builtIn)
})

// newSetup is what one start gets, with a cgroup of its own that must be empty
// when the test ends.
func newSetup(t *testing.T, workers int) *Setup {
	t.Helper()
	privilege.Require(t)
	built, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	mount, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	tree, err := mount.Create(fmt.Sprintf("contender-test-%d-%d", os.Getpid(), apps.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(tree.Remove(), tree.Close()); err != nil {
			t.Error(err)
		}
	})
	leaf, err := tree.Leaf("fleet")
	if err != nil {
		t.Fatal(err)
	}
	return &Setup{Workers: workers, Folder: t.TempDir(), Programs: built, Leaf: leaf}
}

// start starts a contender by its name; it is stopped at the end of the test,
// and must leave nothing then.
func start(t *testing.T, name string, s *Setup) *Fleet {
	t.Helper()
	c := ByName(name)
	if c == nil {
		t.Fatalf("no contender %s", name)
	}
	for _, program := range c.Needs {
		privilege.Tool(t, program)
	}
	return launch(t, s, c.Start)
}

func launch(t *testing.T, s *Setup, begin func(context.Context, *Setup) (*Fleet, error)) *Fleet {
	t.Helper()
	f, err := begin(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopped(t, f) })
	return f
}

// stopped stops a fleet and looks for what it left.
func stopped(t *testing.T, f *Fleet) {
	t.Helper()
	pids, err := f.PIDs()
	if err != nil {
		t.Error(err)
	}
	began := time.Now()
	if err := f.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("the stop took %v", took)
	}
	for _, pid := range pids {
		if unix.Kill(pid, 0) == nil && !isZombie(pid) {
			t.Errorf("process %d is left", pid)
		}
	}
	for _, tree := range f.trees {
		if b, ok := tree.(cgroup.Branch); ok && b.Exists() {
			t.Errorf("cgroup %s is left", b.Path())
		}
	}
	noPins(t)
	if left, _ := filepath.Glob("/tmp/sockdist-*/bench-" + fmt.Sprint(os.Getpid()) + "-*"); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
	if _, err := Ask(f.Address, "/"); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("%s after the stop: %v", f.Address, err)
	}
}

func noPins(t *testing.T) {
	t.Helper()
	if left, _ := filepath.Glob(fmt.Sprintf("/sys/fs/bpf/sockdist-bench-%d-*", os.Getpid())); len(left) > 0 {
		t.Errorf("pins %v are left", left)
	}
}

func isZombie(pid int) bool {
	var state string
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, _ = fmt.Sscanf(string(text[max(0, slices.Index(text, ')')+1):]), "%s", &state)
	return state == "Z" || state == ""
}
