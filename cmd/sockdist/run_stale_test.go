package main_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/sockdist/sockdist/internal/servers"
	"golang.org/x/sys/unix"
)

// A state file from before a worker's last start, as a full disk leaves it, says
// nothing of the process that runs now.
func TestStateOfAnEarlierStart(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	port := servers.FreePort(t, nil)
	a := flags("-n 2").start(t, servers.Node.Command(t, port)...).serves(port, 2)
	file := filepath.Join(a.runtime, a.name, "state.json")
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	first := a.pids(port)[1]
	killProcess(t, first)
	until(t, "another worker has its slot", func() bool { return a.pids(port)[1] != first })
	before := a.pids(port)

	a.kill()
	if err := os.WriteFile(file, old, 0o600); err != nil {
		t.Fatal(err)
	}
	a.successorKeeps(port, before)
}

// The kernel has a signal for stopped processes whose parent ends.
func TestStoppedWorkerOutlivesItsSupervisor(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	port := servers.FreePort(t, nil)
	a := flags("-n 2 --hang-after 0").start(t, servers.Node.Command(t, port)...).serves(port, 2)
	before := a.pids(port)
	_ = unix.Kill(before[0], unix.SIGSTOP)
	until(t, "the worker is stopped", func() bool { return processState(before[0]) == 'T' })
	a.kill()
	if state := processState(before[0]); state != 'T' {
		t.Errorf("the stopped worker is in state %c after its supervisor's death", state)
	}
	_ = unix.Kill(before[0], unix.SIGCONT)
	a.successorKeeps(port, before)
}

// successorKeeps starts sockdist again, and wants the same workers.
func (a *app) successorKeeps(port int, pids map[int]int) {
	a.t.Helper()
	again := a.startAgain()
	again.says("took over 2 workers")
	again.serves(port, 2).expectLive(port, 2)
	if now := again.pids(port); !maps.Equal(now, pids) {
		a.t.Errorf("workers %v, want %v, which there were", now, pids)
	}
}

// processState is that of proc_pid_stat(5), 'T' for stopped; '-' if it is gone.
func processState(pid int) byte {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, found := bytes.Cut(text, []byte(") "))
	if err != nil || !found {
		return '-'
	}
	return after[0]
}
