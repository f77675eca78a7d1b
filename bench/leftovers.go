package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/cgroup"
)

// clearLeftovers ends what runs that were killed have left: the processes of
// contenders, which live on, what they changed of the machine, and folders.
func clearLeftovers() error {
	mount, err := cgroup.Find()
	if err != nil {
		return err
	}
	apps, err := mount.Apps()
	for _, app := range apps { // in order, so that supervisors end before their apps
		if isLeft(app) {
			err = errors.Join(err, clearTree(mount, app))
		}
	}
	folders, _ := filepath.Glob(filepath.Join(os.TempDir(), "sockdist-bench-*"))
	for _, folder := range folders {
		if isLeft(strings.TrimPrefix(filepath.Base(folder), "sockdist-")) && isOwn(folder) {
			err = errors.Join(err, restoreAutogroup(folder), os.RemoveAll(folder))
		}
	}
	return err
}

// isLeft tells whether this is the name of something of a bench that is no more.
func isLeft(name string) bool {
	var pid int
	if n, _ := fmt.Sscanf(name, "bench-%d", &pid); n != 1 || pid <= 0 {
		return false
	}
	return errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}

// isOwn tells whether this user made the folder: everybody may make one there.
func isOwn(folder string) bool {
	var stat unix.Stat_t
	return unix.Lstat(folder, &stat) == nil && int(stat.Uid) == os.Geteuid()
}

// clearTree leaves alone what somebody has a lock on: a bench in another
// namespace, where processes have other numbers.
func clearTree(mount *cgroup.Mount, app string) (err error) {
	tree, err := mount.Create(app)
	if errors.Is(err, cgroup.ErrInUse) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(tree.Kill(), tree.WaitEmpty(ctx), tree.Remove())
}
