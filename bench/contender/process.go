package contender

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Process is one that a fleet was started with.
type Process struct {
	PID   int
	name  string
	log   string
	cmd   *exec.Cmd
	ended chan struct{}
	err   error
}

// A Command is what to start.
type Command struct {
	Args  []string
	Env   []string   // on top of what there is
	Files []*os.File // descriptors 3, 4, …
}

// forking is held while the affinity of a thread is borrowed for a child.
var forking sync.Mutex

// Start starts a process in the setup's cgroup, and on its CPUs. What it says
// goes to a file of the setup's folder.
func (s *Setup) Start(c Command) (*Process, error) {
	p, err := s.spawn(c)
	if err != nil {
		return nil, err
	}
	f := s.begun()
	f.processes = append(f.processes, p)
	f.Commands = append(f.Commands, c.line())
	return p, nil
}

// line is the command as a shell would take it.
func (c Command) line() []string { return append(append([]string{}, c.Env...), c.Args...) }

// spawn starts a process that the fleet may outlive.
func (s *Setup) spawn(c Command) (*Process, error) {
	name := filepath.Base(c.Args[0])
	log, err := os.CreateTemp(s.Folder, name+"-*.log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	leaf, err := s.Leaf.Open()
	if err != nil {
		return nil, err
	}
	defer leaf.Close()

	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.ExtraFiles = c.Files
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = s.Folder
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, UseCgroupFD: true, CgroupFD: int(leaf.Fd())}
	if err := s.onCPUs(cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Process{PID: cmd.Process.Pid, name: name, log: log.Name(), cmd: cmd, ended: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// onCPUs forks with the setup's affinity, and with timers that are exact;
// children inherit both.
func (s *Setup) onCPUs(fork func() error) error {
	forking.Lock()
	defer forking.Unlock()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return err
	}
	defer func() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack), 0, 0, 0) }()
	if s.CPUs == nil {
		return fork()
	}
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	if err := unix.SchedSetaffinity(0, s.CPUs); err != nil {
		return err
	}
	defer func() { _ = unix.SchedSetaffinity(0, &before) }()
	return fork()
}

// Ended is nil while the process runs, and then says how it ended and what it
// said last.
func (p *Process) Ended() error {
	select {
	case <-p.ended:
		return fmt.Errorf("%s ended (%v): %s", p.name, p.cmd.ProcessState, p.LastWords())
	default:
		return nil
	}
}

// awaitEnd waits for the end, not for ever, and tells whether it came.
func (p *Process) awaitEnd(within time.Duration) bool {
	select {
	case <-p.ended:
		return true
	case <-time.After(within):
		return false
	}
}

// LastWords are the last lines of its output, in one.
func (p *Process) LastWords() string {
	text, _ := os.ReadFile(p.log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], " | ")
}

// Signal sends a signal to the process alone.
func (p *Process) Signal(s syscall.Signal) error { return unix.Kill(p.PID, s) }

// children are the direct children of a process.
func children(pid int) (pids []int, err error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil, err
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue // the thread ended
		}
		for _, field := range strings.Fields(string(text)) {
			var child int
			if _, err := fmt.Sscan(field, &child); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids, nil
}
