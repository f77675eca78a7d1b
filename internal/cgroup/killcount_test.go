package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sockdist/sockdist/internal/privilege"
)

// A leaf that was killed serves again.
func TestLeafAfterKill(t *testing.T) {
	tree := newTree(t)
	leaf := newLeaf(t, tree, "0")
	for round := range 3 {
		command := startIn(t, leaf, "sleep", "60")
		if err := leaf.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := leaf.WaitEmpty(t.Context()); err != nil {
			t.Fatal(err)
		}
		_ = command.Wait()
		before := leaf.ID()
		leaf = newLeaf(t, tree, "0")
		if leaf.ID() == before {
			t.Errorf("round %d: the leaf has its old ID", round)
		}
		if err := startIn(t, leaf, "true").Wait(); err != nil {
			t.Fatalf("round %d: a process in the leaf ended with %v", round, err)
		}
	}
}

// So does one that is made by a process whose own cgroup was killed before.
func TestLeafOfAKilledCgroup(t *testing.T) {
	if os.Getenv("CGROUP_TEST_START") != "" {
		leaf := newLeaf(t, newTree(t), "0")
		for range 2 {
			fmt.Printf("start: %v\n", startIn(t, leaf, "true").Wait())
		}
		return
	}
	privilege.Require(t)
	mount, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	for kills := range 4 {
		dir := directory{filepath.Join(mount.Dir, fmt.Sprintf("cgroup-test-%d-kills%d", os.Getpid(), kills))}
		if err := os.Mkdir(dir.path, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := dir.Remove(); err != nil {
				t.Error(err)
			}
		})
		for range kills {
			if err := dir.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		child := exec.Command("sh", "-c", `echo $$ > "$0/cgroup.procs" && exec "$@"`,
			dir.path, os.Args[0], "-test.run=^TestLeafOfAKilledCgroup$")
		child.Env = append(os.Environ(), "CGROUP_TEST_START=1")
		output, err := child.CombinedOutput()
		if err != nil || strings.Count(string(output), "start: <nil>\n") != 2 {
			t.Errorf("after %d kills: %v\n%s", kills, err, output)
		}
	}
}
