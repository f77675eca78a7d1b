package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// directory is a cgroup, with all that is below it.
type directory struct {
	path string
}

// Path returns the directory of the cgroup.
func (d directory) Path() string { return d.path }

// Procs returns the processes of the cgroup and of those below it. Zombies
// don't count. A cgroup that is gone has none.
func (d directory) Procs() ([]int, error) {
	var pids []int
	err := d.walk(func(path string) error {
		text, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if err != nil {
			return err
		}
		for _, field := range strings.Fields(string(text)) {
			// 0 stands for a process that our PID namespace doesn't show.
			if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the processes of cgroup %s: %w", d.path, err)
	}
	return pids, nil
}

// Remove removes the cgroup and all below it. It fails while a process lives
// there; what is already gone is no error.
func (d directory) Remove() error {
	var paths []string
	err := d.walk(func(path string) error {
		paths = append(paths, path)
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove cgroup %s: %w", d.path, err)
	}
	for i := len(paths) - 1; i >= 0; i-- {
		if err := removeOne(paths[i]); err != nil {
			return fmt.Errorf("remove cgroup %s: %w", paths[i], err)
		}
	}
	return nil
}

// removeOne asks again for a moment when the kernel says busy, because the
// last process may be gone but not yet accounted for.
func removeOne(path string) error {
	var err error
	for range 50 {
		err = unix.Rmdir(path)
		if err == nil || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) {
			return err
		}
		if populated, readErr := (directory{path}).Populated(); readErr == nil && populated {
			return fmt.Errorf("processes still live in it: %w", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return err
}

// walk calls visit for the cgroup and for each below it, parents first, and
// passes over those that vanish meanwhile.
func (d directory) walk(visit func(path string) error) error {
	return filepath.WalkDir(d.path, func(path string, entry fs.DirEntry, err error) error {
		if vanished(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if !entry.IsDir() {
			return nil
		}
		if err := visit(path); err != nil && !vanished(err) {
			return err
		}
		return nil
	})
}

// vanished tells the errors of a cgroup that was removed: no such file, or no
// such device from files that were open or are half gone.
func vanished(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV)
}
