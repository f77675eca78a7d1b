package cgroup

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sockdist/sockdist/internal/privilege"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newTree makes a tree that no other test run has, and that ends with t.
func newTree(t *testing.T) *Tree {
	t.Helper()
	privilege.Require(t)

	mount, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	tree, err := mount.Create(fmt.Sprintf("cgroup-test-%d-%d", os.Getpid(), unique()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tree.Kill(); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // the test's own is over
		defer cancel()
		if err := tree.WaitEmpty(ctx); err != nil {
			t.Error(err)
		}
		if err := tree.Remove(); err != nil {
			t.Error(err)
		}
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	})
	return tree
}

var trees int

func unique() int {
	trees++
	return trees
}

func newLeaf(t *testing.T, tree *Tree, name string) *Leaf {
	t.Helper()
	leaf, err := tree.Leaf(name)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// startIn starts a command straight in the leaf.
func startIn(t *testing.T, leaf *Leaf, name string, args ...string) *exec.Cmd {
	t.Helper()
	return startCommandIn(t, leaf, exec.Command(name, args...))
}

// startCommandIn starts a command straight into a leaf, until the test ends.
func startCommandIn(t *testing.T, leaf *Leaf, command *exec.Cmd) *exec.Cmd {
	t.Helper()
	dir, err := leaf.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()

	command.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	return command
}

func exists(t *testing.T, path ...string) bool {
	t.Helper()
	_, err := os.Stat(filepath.Join(path...))
	return err == nil
}
