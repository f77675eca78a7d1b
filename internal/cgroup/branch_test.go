package cgroup

import (
	"path/filepath"
	"slices"
	"testing"
)

// A branch sees what is in a tree that another one has, and nothing without it.
func TestBranch(t *testing.T) {
	tree := newTree(t)
	mount, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	branch := mount.Branch(filepath.Base(tree.Path()))
	command := startIn(t, newLeaf(t, tree, "0"), "sleep", "60")
	if pids, err := branch.Procs(); err != nil || !slices.Equal(pids, []int{command.Process.Pid}) || !branch.Exists() {
		t.Errorf("processes %v, %v; it is there: %v", pids, err, branch.Exists())
	}
	if _, err := branch.CPUTime(); err != nil {
		t.Error(err)
	}

	none := mount.Branch("nobody-has-this-name")
	used, err := none.CPUTime()
	if pids, failed := none.Procs(); used != 0 || err != nil || len(pids) > 0 || failed != nil || none.Exists() {
		t.Errorf("without a tree: %v, %v, processes %v, %v", used, err, pids, failed)
	}
	if err := none.Kill(); err != nil {
		t.Error(err)
	}
}
