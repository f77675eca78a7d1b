package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestCPUTime(t *testing.T) {
	tree := newTree(t)
	one, idle := newLeaf(t, tree, "0"), newLeaf(t, tree, "1")
	startIn(t, one, "sh", "-c", "while :; do :; done")

	read := func(of interface{ CPUTime() (time.Duration, error) }) time.Duration {
		used, err := of.CPUTime()
		if err != nil {
			t.Fatal(err)
		}
		return used
	}
	until(t, "50 ms of CPU time", func() bool { return read(one) > 50*time.Millisecond })
	if err := one.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := one.WaitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	// What ended counts, and what is removed counts above.
	used := read(one)
	if whole := read(tree); used < 50*time.Millisecond || whole < used || read(idle) > used/2 {
		t.Errorf("used %s, by the tree %s, by the idle leaf %s", used, whole, read(idle))
	}
	if err := one.Remove(); err != nil {
		t.Fatal(err)
	}
	if whole := read(tree); whole < used {
		t.Errorf("the tree used %s, a leaf of it had used %s", whole, used)
	}
	if _, err := one.CPUTime(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a leaf that is gone: %v", err)
	}
}

// TestMemoryUnavailable is about machines such as those with cgroup v1, too.
func TestMemoryUnavailable(t *testing.T) {
	tree := newTree(t)
	leaf := newLeaf(t, tree, "0")
	err := leaf.SetMemoryMax(64 << 20)
	if err == nil {
		t.Skip("this machine has the memory controller in cgroup v2")
	}
	if !errors.Is(err, ErrUnavailable) || strings.Contains(err.Error(), "\n") {
		t.Errorf("limit: %q", err)
	}
	t.Log(err)
	if _, err := leaf.OOMKills(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("OOM kills: %v", err)
	}
	if _, err := tree.MemoryCurrent(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("memory: %v", err)
	}
	if err := leaf.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := leaf.OOMKills(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("OOM kills of a leaf that is gone: %v", err)
	}
}

// TestOOMKill has a worker of two processes, of which one eats memory without
// end, and a neighbour.
func TestOOMKill(t *testing.T) {
	const limit = 96 << 20
	switch os.Getenv("CGROUP_TEST_EAT") {
	case "eat":
		sleeper := eater(t, "sleep")
		if err := sleeper.Start(); err != nil {
			t.Fatal(err)
		}
		eat(t, 4*limit)
		t.Fatal("there was no limit")
	case "sleep":
		time.Sleep(time.Hour)
	}

	tree := newTree(t)
	leaf, neighbour := newLeaf(t, tree, "0"), newLeaf(t, tree, "1")
	if err := leaf.SetMemoryMax(limit); errors.Is(err, ErrUnavailable) {
		t.Skipf("needs the memory controller in cgroup v2: make test-kernels runs this on kernels that have it: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	if err := tree.EnableMemory(); err != nil {
		t.Errorf("a second time: %v", err)
	}
	bystander := startCommandIn(t, neighbour, eater(t, "sleep"))

	for round := range 2 {
		worker := startCommandIn(t, leaf, eater(t, "eat"))
		err := worker.Wait()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL {
			t.Fatalf("round %d: the worker ended with %v", round, err)
		}
		if err := leaf.WaitEmpty(t.Context()); err != nil {
			t.Fatal(err) // the sleeper lives
		}
		if kills, err := leaf.OOMKills(); err != nil || kills == 0 {
			t.Errorf("round %d: OOM kills %d, %v", round, kills, err)
		}
		leaf = newLeaf(t, tree, "0")
		if kills, err := leaf.OOMKills(); err != nil || kills != 0 {
			t.Errorf("round %d: OOM kills of a fresh leaf %d, %v", round, kills, err)
		}
		if err := leaf.SetMemoryMax(limit); err != nil {
			t.Fatal(err)
		}
	}

	if kills, err := neighbour.OOMKills(); err != nil || kills != 0 {
		t.Errorf("OOM kills of the neighbour %d, %v", kills, err)
	}
	if used, err := neighbour.MemoryCurrent(); err != nil || used == 0 {
		t.Errorf("the neighbour uses %d, %v", used, err)
	}
	if err := bystander.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the neighbour: %v", err)
	}
}

// TestOOMLimitTakenAway eats more than a limit that was there before.
func TestOOMLimitTakenAway(t *testing.T) {
	if os.Getenv("CGROUP_TEST_EAT") == "eat" {
		eat(t, 128<<20)
		return
	}
	leaf := newLeaf(t, newTree(t), "0")
	if err := leaf.SetMemoryMax(64 << 20); errors.Is(err, ErrUnavailable) {
		t.Skipf("needs the memory controller in cgroup v2: %v", err)
	}
	if err := leaf.SetMemoryMax(0); err != nil {
		t.Fatal(err)
	}
	if err := startCommandIn(t, leaf, eater(t, "eat")).Wait(); err != nil {
		t.Error(err)
	}
}

// eater is this test once more, in another part.
func eater(t *testing.T, part string) *exec.Cmd {
	command := exec.Command("/proc/self/exe", fmt.Sprintf("-test.run=^%s$", t.Name()))
	command.Env = append(os.Environ(), "CGROUP_TEST_EAT="+part)
	command.Stderr = os.Stderr
	return command
}

// eat takes memory and keeps it for a while.
func eat(t *testing.T, size int) {
	memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(memory); i += os.Getpagesize() {
		memory[i] = 1
	}
	runtime.KeepAlive(memory)
}

func TestParseNumber(t *testing.T) {
	const events = "low 0\nhigh 1\nmax 22\noom 3\noom_kill 4\noom_group_kill 1\n"
	if n, err := parseNumber(events, "oom_kill"); n != 4 || err != nil {
		t.Error(n, err)
	}
	if n, err := parseNumber("123456\n", ""); n != 123456 || err != nil {
		t.Error(n, err)
	}
	for _, text := range []string{"", "oom_kill\n", "oom_kill x\n", "oom_kill_x 3\n", "oom_kill -1\n"} {
		if n, err := parseNumber(text, "oom_kill"); err == nil {
			t.Errorf("%q: %d", text, n)
		}
	}
}

func TestMemoryIsOn(t *testing.T) {
	const head = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t0\t1\t1\n"
	for table, want := range map[string]bool{head: false, head + "memory\t0\t1\t1\n": true, head + "memory\t0\t1\t0\n": false} {
		if got := memoryIsOn(table); got != want {
			t.Errorf("%q: %v", table, got)
		}
	}
}
