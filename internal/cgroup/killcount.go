package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Since Linux 6.14, and the stable kernels of that time, a cgroup counts how
// often cgroup.kill was written, so that a fork in progress can't escape: a
// child whose cgroup has another count at the end of the fork than at the
// beginning is killed. With CLONE_INTO_CGROUP the kernel compares two cgroups,
// the parent's count at the beginning with that of the child's cgroup at the
// end. So once a leaf was killed, every process started straight into it dies
// at once; and if our own cgroup was killed before we came into it, so does
// every process in a fresh leaf.
//
// Therefore each leaf is made anew before it is used again, and is then
// killed, while it is empty, as often as our own cgroup was. The kernel doesn't
// tell that number: it is found by trying.

// mostKills is how often our own cgroup may have been killed.
const mostKills = 64

// matchKillCount prepares a fresh and empty leaf.
func (t *Tree) matchKillCount(leaf *Leaf) error {
	t.counting.Do(func() { t.killCount, t.countErr = countKills(leaf) })
	if t.countErr != nil {
		return t.countErr
	}
	for range t.killCount {
		if err := leaf.Kill(); err != nil {
			return err
		}
	}
	return nil
}

// countKills finds out how often a fresh cgroup has to be killed until a
// process can start in it, and leaves it as fresh as it was.
func countKills(leaf *Leaf) (count int, err error) {
	for ; count < mostKills; count++ {
		survives, err := survivesStart(leaf)
		if err != nil {
			return 0, err
		}
		if survives {
			break
		}
		if err := leaf.Kill(); err != nil {
			return 0, err
		}
	}
	if count == mostKills {
		return 0, fmt.Errorf("every process that is started in cgroup %s is killed: "+
			"was cgroup.kill of our own cgroup written more than %d times? Start from another one", leaf.path, mostKills)
	}
	if count == 0 {
		return 0, nil
	}
	if err := leaf.Remove(); err != nil {
		return 0, err
	}
	return count, os.Mkdir(leaf.path, 0o755)
}

// survivesStart starts a process in the leaf whose exec must fail. If we are
// told so, it has lived that long; if not, it was killed before.
func survivesStart(leaf *Leaf) (bool, error) {
	dir, err := leaf.Open()
	if err != nil {
		return false, err
	}
	defer dir.Close()

	missing := filepath.Join(leaf.path, "no program")
	pid, err := syscall.ForkExec(missing, []string{missing}, &syscall.ProcAttr{
		Sys: &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())},
	})
	switch {
	case errors.Is(err, unix.ENOENT):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("start a process in cgroup %s: %w", leaf.path, explainStart(err))
	}
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); !errors.Is(err, unix.EINTR) {
			return false, nil
		}
	}
}

// explainStart says what stands in the way of CLONE_INTO_CGROUP.
func explainStart(err error) error {
	switch {
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM):
		return fmt.Errorf("clone3 isn't allowed here, perhaps by the container's seccomp profile: %w", unavailable(err))
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("no permission: run as root: %w", unavailable(err))
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("it takes no processes, because of its controllers or its type: %w", unavailable(err))
	}
	return unavailable(err)
}
