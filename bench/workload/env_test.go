package workload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"go.uber.org/goleak"

	"github.com/sockdist/sockdist/bench/contender"
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
var programs = sync.OnceValues(func() (contender.Programs, error) {
	root, err := contender.Root()
	if err != nil {
		return contender.Programs{}, err
	}
	if builtIn, err = os.MkdirTemp("", "workload-"); err != nil {
		return contender.Programs{}, err
	}
	return contender.Build(context.Background(), root, builtIn)
})

// trees counts cgroups of this process.
var trees atomic.Int64

// testEnv is what a test measures in. All fleets end with the test, those too
// that a workload should have stopped.
type testEnv struct {
	t    *testing.T
	tree *cgroup.Tree
	kept map[string]*contender.Fleet
}

var _ Env = (*testEnv)(nil)

// newEnv needs root.
func newEnv(t *testing.T) *testEnv {
	t.Helper()
	privilege.Require(t)
	mount, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	tree, err := mount.Create(fmt.Sprintf("workload-test-%d-%d", os.Getpid(), trees.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(tree.Remove(), tree.Close()); err != nil {
			t.Error(err)
		}
	})
	return &testEnv{t: t, tree: tree, kept: map[string]*contender.Fleet{}}
}

func (e *testEnv) Fleet(ctx context.Context, c *contender.Contender, s contender.Setup) (*contender.Fleet, error) {
	key := fmt.Sprint(c.Name, s.Workers, s.Serial)
	if e.kept[key] == nil {
		f, err := e.Fresh(ctx, c, s)
		if err != nil {
			return nil, err
		}
		e.kept[key] = f
	}
	return e.kept[key], nil
}

func (e *testEnv) Fresh(ctx context.Context, c *contender.Contender, s contender.Setup) (*contender.Fleet, error) {
	e.t.Helper()
	built, err := programs()
	if err != nil {
		e.t.Fatal(err)
	}
	if s.Leaf, err = e.tree.Leaf(fmt.Sprintf("%s-%d", c.Name, trees.Add(1))); err != nil {
		e.t.Fatal(err)
	}
	s.Programs, s.Folder = built, e.t.TempDir()
	f, err := c.Start(ctx, &s)
	if err != nil {
		return nil, err
	}
	e.t.Cleanup(func() {
		if err := f.Stop(); err != nil {
			e.t.Error(err)
		}
	})
	return f, nil
}

func (e *testEnv) ClientCPU() (time.Duration, error) {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return 0, err
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}

func (e *testEnv) Softirq() (time.Duration, error) { return 0, nil }

func (e *testEnv) Service(_ contender.Family, d time.Duration) time.Duration { return d }

func (e *testEnv) Sockdist(ctx context.Context, args ...string) (string, error) {
	built, err := programs()
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, built.Sockdist, args...).Output()
	return string(out), err
}

func (e *testEnv) Say(format string, args ...any) { e.t.Logf(format, args...) }

// some are those of the contenders that are there, by name, and can be started.
func some(t *testing.T, names ...string) (all []*contender.Contender) {
	t.Helper()
	for _, name := range names {
		c := contender.ByName(name)
		switch {
		case c == nil:
			t.Logf("there is no contender %s", name)
		case c.Missing() != "":
			t.Logf("%s: %s", name, c.Missing())
		default:
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		t.Skip("none of the contenders is there")
	}
	return all
}
