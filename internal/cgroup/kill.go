package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Kill sends SIGKILL to every process in the cgroup and below it, also to
// those that are being forked meanwhile. It doesn't wait for their end: see
// WaitEmpty. A cgroup that is gone is no error.
func (d directory) Kill() error {
	err := writeFile(filepath.Join(d.path, "cgroup.kill"), "1")
	if err == nil {
		return nil
	}
	if _, gone := os.Stat(d.path); vanished(gone) {
		return nil
	}
	// cgroup.kill came with Linux 5.14, and threaded cgroups lack it.
	if err := d.killEach(); err != nil {
		return fmt.Errorf("kill the processes of cgroup %s: %w", d.path, err)
	}
	return nil
}

// killEach does by hand what cgroup.kill does. Freezing first keeps a process
// that forks faster than we read from getting away; where it can't be frozen,
// the rounds still catch up with anything but a fork bomb.
func (d directory) killEach() error {
	freezer := filepath.Join(d.path, "cgroup.freeze")
	if writeFile(freezer, "1") == nil {
		defer func() { _ = writeFile(freezer, "0") }()
	}
	for range 100 {
		pids, err := d.Procs()
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("process %d: %w", pid, err)
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	// Those left sleep in the kernel, and die when that lets go of them.
	return nil
}

// writeFile never creates: a control file that is missing is an error.
func writeFile(path, text string) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}
