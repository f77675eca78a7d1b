package cgroup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestProcessStartsInItsLeaf(t *testing.T) {
	tree := newTree(t)
	one, two := newLeaf(t, tree, "0"), newLeaf(t, tree, "1")

	if one.ID() == 0 || one.ID() == two.ID() {
		t.Errorf("IDs of two leaves are %d and %d", one.ID(), two.ID())
	}
	command := startIn(t, one, "sleep", "60")

	for _, c := range []struct {
		name string
		got  func() ([]int, error)
		want []int
	}{
		{"its leaf", one.Procs, []int{command.Process.Pid}},
		{"the other leaf", two.Procs, nil},
		{"the tree", tree.Procs, []int{command.Process.Pid}},
	} {
		if got, err := c.got(); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("processes of %s are %v, %v, want %v", c.name, got, err, c.want)
		}
	}
	if populated, err := one.Populated(); err != nil || !populated {
		t.Errorf("leaf with a process is populated: %v, %v", populated, err)
	}
	if populated, err := two.Populated(); err != nil || populated {
		t.Errorf("leaf without a process is populated: %v, %v", populated, err)
	}
}

func TestKillReachesForkedProcesses(t *testing.T) {
	kills := map[string]func(*Leaf) error{
		"by the kernel": (*Leaf).Kill,
		"by hand":       func(l *Leaf) error { return l.killEach() },
	}
	for name, kill := range kills {
		t.Run(name, func(t *testing.T) {
			tree := newTree(t)
			leaf := newLeaf(t, tree, "0")
			command := startIn(t, leaf, "sh", "-c", "sleep 60 & setsid sleep 60 & sleep 60")
			until(t, "three processes forked", func() bool {
				pids, err := leaf.Procs()
				return err == nil && len(pids) == 4
			})

			if err := kill(leaf); err != nil {
				t.Fatal(err)
			}
			if err := leaf.WaitEmpty(t.Context()); err != nil {
				t.Fatal(err)
			}
			_ = command.Wait()
			if err := leaf.Remove(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestKillAndRemoveOfNothing(t *testing.T) {
	tree := newTree(t)
	leaf := newLeaf(t, tree, "0")
	if err := leaf.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := leaf.Remove(); err != nil {
		t.Errorf("remove a leaf that is gone: %v", err)
	}
	if err := leaf.Kill(); err != nil {
		t.Errorf("kill in a leaf that is gone: %v", err)
	}
	if err := leaf.WaitEmpty(t.Context()); err != nil {
		t.Errorf("wait for a leaf that is gone: %v", err)
	}
	if pids, err := leaf.Procs(); err != nil || len(pids) != 0 {
		t.Errorf("processes of a leaf that is gone: %v, %v", pids, err)
	}
}

func TestWaitEmptyEndsWithContext(t *testing.T) {
	tree := newTree(t)
	leaf := newLeaf(t, tree, "0")
	startIn(t, leaf, "sleep", "60")

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := leaf.WaitEmpty(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait for a leaf with a process ended with %v", err)
	}
}

func TestWaitEmptySeesTheLastEnd(t *testing.T) {
	tree := newTree(t)
	leaf := newLeaf(t, tree, "0")
	command := startIn(t, leaf, "sleep", "60")

	ended := make(chan error, 1)
	go func() { ended <- leaf.WaitEmpty(t.Context()) }()
	select {
	case err := <-ended:
		t.Fatalf("wait ended while a process lives: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	// A zombie that nobody has reaped is no reason to wait.
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestRemoveRefusesWhileProcessesLive(t *testing.T) {
	tree := newTree(t)
	leaf := newLeaf(t, tree, "0")
	startIn(t, leaf, "sleep", "60")

	if err := tree.Remove(); !errors.Is(err, unix.EBUSY) {
		t.Errorf("remove of a populated tree: %v, want EBUSY", err)
	}
	if !exists(t, leaf.Path()) {
		t.Error("the populated leaf is gone")
	}
}

// A worker may make cgroups of its own below its leaf.
func TestNestedCgroupsCount(t *testing.T) {
	tree := newTree(t)
	leaf := newLeaf(t, tree, "0")
	below := filepath.Join(leaf.Path(), "below")
	if err := os.Mkdir(below, 0o755); err != nil {
		t.Fatal(err)
	}
	command := startIn(t, &Leaf{directory: directory{path: below}}, "sleep", "60")

	if pids, err := leaf.Procs(); err != nil || !slices.Equal(pids, []int{command.Process.Pid}) {
		t.Errorf("processes are %v, %v, want %d", pids, err, command.Process.Pid)
	}
	if err := leaf.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := leaf.WaitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := leaf.Remove(); err != nil {
		t.Error(err)
	}
}

func TestOneSupervisorHoldsATree(t *testing.T) {
	tree := newTree(t)
	mount, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	app := filepath.Base(tree.Path())

	if _, err := mount.Create(app); !errors.Is(err, ErrInUse) {
		t.Fatalf("create a tree that is held: %v, want ErrInUse", err)
	}
	copied, err := unix.FcntlInt(tree.lock.Fd(), unix.F_DUPFD_CLOEXEC, 0) // as a process has it between fork and exec
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(copied)
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := mount.Create(app)
	if err != nil {
		t.Fatalf("create a tree that was left: %v", err)
	}
	tree.lock = again.lock
}

// What an earlier supervisor left is found again, with its processes.
func TestTreeOutlivesItsMaker(t *testing.T) {
	tree := newTree(t)
	leaf := newLeaf(t, tree, "3")
	command := startIn(t, leaf, "sleep", "60")
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}

	mount, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	again, err := mount.Create(filepath.Base(tree.Path()))
	if err != nil {
		t.Fatal(err)
	}
	tree.lock = again.lock
	if pids, err := again.Procs(); err != nil || !slices.Equal(pids, []int{command.Process.Pid}) {
		t.Errorf("processes are %v, %v, want %d", pids, err, command.Process.Pid)
	}
	if same := newLeaf(t, again, "3"); same.ID() != leaf.ID() {
		t.Errorf("ID of the leaf is %d, was %d", same.ID(), leaf.ID())
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"app", "app-2", "my_app:80", "0", "_"} {
		if err := CheckName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", ".", "..", "cgroup.procs", "a/b", "-n", "a b", "a\n", string(make([]byte, 64))} {
		if CheckName(name) == nil {
			t.Errorf("%q passes as a name", name)
		}
	}
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("not in 10 s: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
