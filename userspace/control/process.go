package control

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/userspace/sockets"
)

// process is a child of this process, or of an earlier supervisor. It is waited
// for from the start on, by a goroutine that costs no thread.
type process struct {
	pid   int
	began uint64   // clock ticks since boot
	file  *os.File // a pidfd, so a signal never reaches another process
	// stranger: it isn't our child, and its exit status goes to another.
	stranger bool

	done chan struct{} // closed when exit is set
	exit exit
}

// program is what to start, and how.
type program struct {
	path        string
	args        []string // the first is the name
	environment []string
	files       []*os.File // 0, 1, 2 …
	cgroup      *os.File   // nil: ours
	who         *account   // nil: ourselves
	cpu         int        // -1: all of ours
}

// start starts the program. An error wraps what exec says.
func start(p program) (*process, error) {
	if p.cpu < 0 {
		return children.start(p)
	}
	var started *process
	err := onCPU(p.cpu, func() (err error) {
		started, err = children.start(p)
		return err
	})
	return started, err
}

// fork is start without anybody who waits for the process.
func fork(p program) (*process, error) {
	pidfd := -1
	attributes := &syscall.ProcAttr{
		Env: p.environment,
		Sys: &syscall.SysProcAttr{
			Credential: p.who.credential(),
			// A process group isn't enough. When its parent ends, the kernel sends
			// SIGHUP to a group of the same session in which a process is stopped.
			Setsid: true,
			PidFD:  &pidfd,
		},
	}
	for _, file := range p.files {
		attributes.Files = append(attributes.Files, file.Fd())
	}
	if p.cgroup != nil {
		attributes.Sys.UseCgroupFD, attributes.Sys.CgroupFD = true, int(p.cgroup.Fd())
	}

	pid, _, err := syscall.StartProcess(p.path, p.args, attributes)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.path, err)
	}
	// Only a descriptor that doesn't block is waited for without a thread.
	if err := unix.SetNonblock(pidfd, true); err != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = unix.Wait4(pid, nil, 0, nil)
		return nil, fmt.Errorf("start %s: make its pidfd non-blocking: %w", p.path, err)
	}
	began, _ := sockets.StartTime(pid) // ours until it is waited for
	return &process{
		pid:   pid,
		began: began,
		file:  os.NewFile(uintptr(pidfd), fmt.Sprintf("pidfd of %d", pid)),
		done:  make(chan struct{}),
	}, nil
}

// wait takes the exit status when there is one.
func (p *process) wait() {
	defer close(p.done)
	defer p.file.Close()

	p.exit.unknown = true
	conn, err := p.file.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Read(func(fd uintptr) bool {
		if p.stranger {
			return hasEnded(int(fd))
		}
		for {
			got, err := unix.Wait4(p.pid, &p.exit.status, unix.WNOHANG, nil)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			p.exit.unknown = got != p.pid
			return got == p.pid || err != nil
		}
	})
}

// hasEnded tells whether the process behind a pidfd is dead: then it can be read.
func hasEnded(pidfd int) bool {
	ready := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(ready, 0)
		if !errors.Is(err, unix.EINTR) {
			return err != nil || ready[0].Revents != 0
		}
	}
}

// endedProcess stands for one that died before anybody could open it.
func endedProcess(pid int, began uint64) *process {
	p := &process{pid: pid, began: began, stranger: true, done: make(chan struct{}), exit: exit{unknown: true}}
	close(p.done)
	return p
}

// isDone tells whether the process has ended.
func (p *process) isDone() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// signal does nothing to a process that is gone.
func (p *process) signal(sig unix.Signal) error {
	if p.file == nil {
		return nil
	}
	conn, err := p.file.SyscallConn()
	if err != nil {
		return nil
	}
	var failed error
	if conn.Control(func(fd uintptr) { failed = unix.PidfdSendSignal(int(fd), sig, nil, 0) }) != nil {
		return nil // closed, so the process is gone
	}
	if failed != nil && !errors.Is(failed, unix.ESRCH) {
		return fmt.Errorf("send %s to process %d: %w", unix.SignalName(sig), p.pid, failed)
	}
	return nil
}
