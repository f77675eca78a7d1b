// Package dependent starts processes that end with this one, also when it is killed.
package dependent

import (
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Start starts cmd so that the kernel kills it when this process ends; see
// prctl(2), PR_SET_PDEATHSIG. It sets cmd.SysProcAttr.Pdeathsig and leaves the
// other attributes as they are. The caller waits for the process, as after
// cmd.Start; errors are those of cmd.Start.
//
// To the kernel the parent is the thread that forked, not the process, and a Go
// program's threads end at any time: each with a goroutine that locked it and
// never let it go. So this one is kept until the child has ended.
func Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err != nil {
			started <- err
			return
		}
		pid := cmd.Process.Pid // the caller has cmd from now on
		started <- nil
		awaitEnd(pid)
	}()
	return <-started
}

// Run is Start and cmd.Wait.
func Run(cmd *exec.Cmd) error {
	if err := Start(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

// awaitEnd leaves it to the caller of Start to reap the process. Where that has
// already happened, there is no such child.
func awaitEnd(pid int) {
	for {
		if err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != unix.EINTR {
			return
		}
	}
}
