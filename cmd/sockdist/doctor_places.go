package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/loader"
	"golang.org/x/sys/unix"
)

func checkBPFFS() check {
	c := check{Name: "bpffs", Level: levelOK}
	dir, err := loader.BPFFS()
	switch {
	case err != nil:
		c.Level, c.Found = levelFail, oneLine(err)
	case dir == "":
		c.Found = "not mounted; sockdist mounts it on /sys/fs/bpf when it first needs it"
	default:
		c.Found = "mounted on " + dir
		if err := unix.Access(dir, unix.W_OK); err != nil {
			c.Level = levelFail
			c.Found += fmt.Sprintf(", but this user can't write there: %v", err)
			c.Advice = "run as root, and in a container with " + dir + " mounted writable"
		}
	}
	return c
}

// cgroupOfDoctor is the app name of the cgroup that the hooks are tried on. It
// is always the same one, so that what a killed doctor left goes with the next.
const cgroupOfDoctor = "doctor-trial"

func checkCgroup() check {
	c := check{Name: "cgroup v2", Level: levelOK}
	mount, err := cgroup.Find()
	if err != nil {
		c.Level, c.Found, c.Advice = levelFail, oneLine(err), "mount cgroup v2 for run and demo; attach works without"
		return c
	}
	c.Found = fmt.Sprintf("mounted on %s; bind hooks and starting processes in it work", mount.Dir)
	err = tryCgroup(mount)
	if err == nil {
		return c
	}
	c.Level, c.Found = levelFail, fmt.Sprintf("mounted on %s, but: %s", mount.Dir, reason(err))
	if errors.Is(err, fs.ErrPermission) {
		c.Found = fmt.Sprintf("mounted on %s, but this user can't make cgroups with bind hooks there", mount.Dir)
		c.Advice = "run as root, and in a container with " + mount.Dir + " mounted writable; attach works without"
	}
	return c
}

func tryCgroup(mount *cgroup.Mount) (err error) {
	tree, err := createTree(mount)
	if err != nil {
		return err
	}
	defer tree.Close()
	defer func() { err = errors.Join(err, tree.Remove()) }()
	if err := loader.TryBindHooks(tree.Path()); err != nil {
		return err
	}
	leaf, err := tree.Leaf("worker")
	if err != nil {
		return err
	}
	dir, err := leaf.Open()
	if err != nil {
		return err
	}
	defer dir.Close()
	return startIn(dir)
}

// createTree waits while another doctor is at it.
func createTree(mount *cgroup.Mount) (*cgroup.Tree, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for {
		tree, err := mount.Create(cgroupOfDoctor)
		if !errors.Is(err, cgroup.ErrInUse) {
			return tree, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// startIn starts a process in the cgroup (CLONE_INTO_CGROUP). Its program does
// not exist, so it ends before it begins: that is the answer to hope for.
func startIn(dir *os.File) error {
	const nowhere = "/proc/self/no-such-program"
	process, err := os.StartProcess(nowhere, []string{nowhere}, &os.ProcAttr{
		Sys: &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())},
	})
	if err == nil {
		_, err = process.Wait()
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("start a process in the cgroup: %w", err)
}

// checkPidfd fetches a descriptor of this very process, which takes no
// privilege: what fails then is the kernel or a seccomp filter.
func checkPidfd() check {
	c := check{Name: "pidfd_getfd", Level: levelOK, Found: "works: listening sockets can be fetched from their processes"}
	if err := tryPidfd(); err != nil {
		c.Level, c.Found = levelFail, oneLine(err)
		c.Advice = "let the container's seccomp profile allow pidfd_open and pidfd_getfd; the kernel has them from 5.6 on"
	}
	return c
}

func tryPidfd() error {
	self, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return fmt.Errorf("pidfd_open: %w", err)
	}
	defer unix.Close(self)
	copied, err := unix.PidfdGetfd(self, self, 0)
	if err != nil {
		return fmt.Errorf("pidfd_getfd: %w", err)
	}
	return unix.Close(copied)
}
