package servers

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// guard is a process that outlives the test binary, if that is killed before
// it could clean up, just long enough to kill what the binary has started. A
// signal at the parent's death can't do that: it comes when the thread that
// forked ends, and reaches no grandchildren.
type guard struct {
	shell *exec.Cmd
	alive io.Closer // the kernel closes it with the test binary
}

// guardGroup begins to guard a process group.
func guardGroup(group int) (*guard, error) {
	watched, alive, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("guard the process group %d: %w", group, err)
	}
	defer watched.Close()

	shell := exec.Command("sh", "-c", `read -r _; kill -s KILL -- "-$0"`, strconv.Itoa(group))
	shell.Stdin = watched
	// Not in the test's group: that may be what is being killed.
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := shell.Start(); err != nil {
		alive.Close()
		return nil, fmt.Errorf("guard the process group %d: %w", group, err)
	}
	return &guard{shell: shell, alive: alive}, nil
}

// end is for when the group has ended. The shell goes first: it must not take
// the closed pipe for a death.
func (g *guard) end() {
	if g == nil {
		return
	}
	_ = g.shell.Process.Kill()
	_ = g.shell.Wait() // its error is the kill
	g.alive.Close()
}
