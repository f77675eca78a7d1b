package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestFrozen(t *testing.T) {
	leaf := newLeaf(t, newTree(t), "0")
	counter := filepath.Join(t.TempDir(), "count")
	startIn(t, leaf, "sh", "-c", fmt.Sprintf("while :; do echo x >> %s; done", counter))
	count := func() int64 {
		info, err := os.Stat(counter)
		if err != nil {
			return 0
		}
		return info.Size()
	}
	until(t, "the process runs", func() bool { return count() > 0 })

	mine, late := errors.New("mine"), 0
	for range 20 {
		began := time.Now()
		err := leaf.Frozen(t.Context(), func() error {
			text, err := os.ReadFile(leaf.eventsFile())
			if waited := time.Since(began); err == nil && !frozen(string(text)) && waited >= mostFreezing {
				late++ // the machine was busy elsewhere
				return mine
			}
			if err != nil || !frozen(string(text)) {
				t.Errorf("events %q, %v", text, err)
			}
			before := count()
			time.Sleep(time.Millisecond)
			if after := count(); after != before {
				t.Errorf("count %d, then %d", before, after)
			}
			return mine
		})
		if !errors.Is(err, mine) {
			t.Error(err)
		}
	}
	if late > 10 {
		t.Errorf("%d times of 20 the process didn't stand in %v", late, mostFreezing)
	}
	before := count()
	until(t, "the process goes on", func() bool { return count() > before })
}

func TestFrozenCanBeKilled(t *testing.T) {
	leaf := newLeaf(t, newTree(t), "0")
	command := startIn(t, leaf, "sleep", "60")
	if err := leaf.Frozen(t.Context(), leaf.Kill); err != nil {
		t.Error(err)
	}
	if err := leaf.WaitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = command.Wait()
	if err := leaf.Remove(); err != nil {
		t.Fatal(err)
	}
	ran := false
	if err := leaf.Frozen(t.Context(), func() error { ran = true; return nil }); err != nil || !ran {
		t.Errorf("of a leaf that is gone: %v, ran %v", err, ran)
	}
	if err := leaf.Thaw(); err != nil {
		t.Errorf("of a leaf that is gone: %v", err)
	}
}

// TestThaw is what somebody finds who takes over from one that was killed.
func TestThaw(t *testing.T) {
	leaf := newLeaf(t, newTree(t), "0")
	command := exec.Command("cat")
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	command.Stdout = &out
	startCommandIn(t, leaf, command)
	if err := leaf.freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := leaf.Thaw(); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprint(stdin, "x")
	stdin.Close()
	if err := command.Wait(); err != nil || out.String() != "x" {
		t.Errorf("%q, %v", out.String(), err)
	}
}
