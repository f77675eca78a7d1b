package contender

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

	"github.com/sockdist/sockdist/internal/cgroup"
)

// A branch is the cgroup tree of an app of sockdist run, whose lock is the
// supervisor's: to look at from outside.
type branch string

// branchOf is where the workers of an app live, or will.
func branchOf(app string) (branch, error) {
	mount, err := cgroup.Find()
	if err != nil {
		return "", err
	}
	return branch(filepath.Join(mount.Dir, "sockdist", app)), nil
}

// CPUTime is what its processes used so far, those that ended too; 0 before
// the tree is there, and after.
func (b branch) CPUTime() (time.Duration, error) {
	text, err := os.ReadFile(filepath.Join(string(b), "cpu.stat"))
	if gone(err) {
		return 0, nil
	}
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(strings.TrimSpace(line), " "); name == "usage_usec" {
			used, err := strconv.ParseInt(value, 10, 64)
			return time.Duration(used) * time.Microsecond, err
		}
	}
	return 0, errors.Join(err, fmt.Errorf("%s/cpu.stat has no usage_usec", b))
}

// Procs are its processes and those below it.
func (b branch) Procs() (pids []int, err error) {
	err = filepath.WalkDir(string(b), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Name() == "cgroup.procs" {
			var text []byte
			text, err = os.ReadFile(path)
			pids = append(pids, numbers(string(text))...)
		}
		if gone(err) {
			return nil
		}
		return err
	})
	return pids, err
}

func numbers(text string) (all []int) {
	for _, field := range strings.Fields(text) {
		if n, err := strconv.Atoi(field); err == nil {
			all = append(all, n)
		}
	}
	return all
}

func (b branch) exists() bool {
	_, err := os.Stat(string(b))
	return err == nil
}

func (b branch) kill() error {
	return os.WriteFile(filepath.Join(string(b), "cgroup.kill"), []byte("1"), 0)
}

// gone tells the errors of a cgroup that isn't there, or goes just now.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV)
}
