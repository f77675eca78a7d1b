package ledger

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Kill is a SIGKILL that a test sent to a worker.
//
// Between the return of accept and the write of its record a worker has a
// connection in its hands that no record tells of. As a loop accepts one at a
// time, a kill can hit one such connection for each, and no more: Balance lays
// no more unrecorded resets to a Kill.
type Kill struct {
	PID int
	// Loops is how many loops the worker accepts with: one for each port, in the
	// servers of this package. 0: one.
	Loops int
	// Sent is when it was sent, and Dead when the process was known to be gone.
	Sent, Dead Moment
}

// dieWithin is far more than a process takes to end.
const dieWithin = 30 * time.Second

// KillWorker sends a SIGKILL to a process of anybody and waits for its end, but
// doesn't reap it.
func KillWorker(pid int) (Kill, error) {
	k := Kill{PID: pid}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return k, fmt.Errorf("ledger: kill process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	k.Sent = Now()
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		return k, fmt.Errorf("ledger: kill process %d: %w", pid, err)
	}
	end := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for deadline := time.Now().Add(dieWithin); ; {
		n, err := unix.Poll(end, max(int(time.Until(deadline).Milliseconds()), 0))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n != 1 {
			return k, fmt.Errorf("ledger: process %d got a SIGKILL and didn't end within %v: %w", pid, dieWithin, err)
		}
		k.Dead = Now()
		return k, nil
	}
}
