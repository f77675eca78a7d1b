package servers

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// stopWithin is how long each step of a stop may take.
const stopWithin = 5 * time.Second

// Process is a server that runs. It ends with its test.
type Process struct {
	// PID is the process ID of the server, or of its master. It leads a process
	// group of its own.
	PID int
	// Address is where clients reach the server.
	Address netip.AddrPort

	cmd    *exec.Cmd
	output *os.File
	guard  *guard
	ended  chan struct{} // closed when the process has been reaped
	stop   sync.Once
}

// Port is the port that the server serves.
func (p *Process) Port() int { return int(p.Address.Port()) }

// Output returns what the server has written so far.
func (p *Process) Output() string {
	text, err := os.ReadFile(p.output.Name())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Kill ends the process without notice, as a crash does, and waits for it. Its
// children, if it has any, are left until the test's end.
func (p *Process) Kill() {
	// An error says that it has ended already.
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// Stop ends the process with SIGTERM, and what is left of its process group
// with SIGKILL, and waits for them. It also ends processes that are stopped,
// and does nothing the second time.
func (p *Process) Stop() {
	p.stop.Do(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		_ = p.cmd.Process.Signal(syscall.SIGCONT)
		select {
		case <-p.ended:
		case <-time.After(stopWithin):
		}
		p.endGroup()
		<-p.ended
		p.guard.end()
	})
}

// endGroup kills what is left of the process group, and waits for it. Orphans
// may stay as zombies where process 1 doesn't reap: those can do no harm.
func (p *Process) endGroup() {
	for deadline := time.Now().Add(stopWithin); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if err := syscall.Kill(-p.PID, syscall.SIGKILL); err != nil {
			return // ESRCH: nobody is left
		}
	}
}

// Workers returns the process IDs of the children, which for nginx are its
// workers; of a server that has none, its own.
func (p *Process) Workers() []int {
	children, err := childrenOf(p.PID)
	if err != nil || len(children) == 0 {
		return []int{p.PID}
	}
	return children
}

// AwaitWorkers waits until there are n workers, and fails t if there never are.
func (p *Process) AwaitWorkers(t testing.TB, n int) []int {
	t.Helper()
	for deadline := time.Now().Add(readyWithin); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if workers := p.Workers(); len(workers) == n {
			return workers
		}
	}
	t.Fatalf("workers %v of process %d, want %d of them\n%s", p.Workers(), p.PID, n, p.Output())
	return nil
}

// family returns the process itself and its children.
func (p *Process) family() []int {
	children, _ := childrenOf(p.PID)
	return append(children, p.PID)
}

// childrenOf lists the children of a process that its main thread started.
func childrenOf(pid int) ([]int, error) {
	path := fmt.Sprintf("/proc/%d/task/%d/children", pid, pid)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return nil, nil // it has ended
	}
	if err != nil {
		return nil, err
	}
	var children []int
	for _, field := range strings.Fields(string(text)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		children = append(children, child)
	}
	return children, nil
}
