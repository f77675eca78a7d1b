package control

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// exit is how a process ended.
type exit struct {
	status unix.WaitStatus
	// unknown is true when somebody else took the status.
	unknown bool
	// outOfMemory: the kernel killed it, because it reached its limit.
	outOfMemory bool
}

func (e exit) String() string {
	switch {
	case e.outOfMemory:
		return "was killed by the kernel because it needed more memory than --memory-max"
	case e.unknown:
		return "ended in an unknown way"
	case e.status.Signaled() && e.status.CoreDump():
		return fmt.Sprintf("was killed by %s (core dumped)", unix.SignalName(e.status.Signal()))
	case e.status.Signaled():
		return "was killed by " + unix.SignalName(e.status.Signal())
	}
	return fmt.Sprintf("exited with status %d", e.status.ExitStatus())
}

func (e exit) isSuccess() bool { return !e.unknown && e.status.Exited() && e.status.ExitStatus() == 0 }

// StartError says that the workers die before they ever listen.
type StartError struct {
	// Slot is the worker whose end is quoted.
	Slot int
	// Exit is how it ended, as in "exited with status 1".
	Exit string
	// Output are its last lines, if it printed any.
	Output []string
}

func (e *StartError) Error() string {
	text := fmt.Sprintf("the workers don't start: each died %d times within %v and none ever listened; worker %d %s",
		earlyDeaths, earlyLife, e.Slot, e.Exit)
	if len(e.Output) == 0 {
		return text + " and printed nothing"
	}
	return text + ", its last output:\n  " + strings.Join(e.Output, "\n  ")
}
