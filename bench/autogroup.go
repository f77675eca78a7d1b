package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const autogroup = "/proc/sys/kernel/sched_autogroup_enabled"

// noAutogroup switches off that the scheduler shares CPUs out by session first
// (sched(7)). Clients and contenders come with as many sessions as they happen
// to: a worker of sockdist run has one of its own, the workers of a cluster share
// theirs with the client. That made a difference of half of a server's CPU, and
// none of it is the contender's. What it was is written into the run's folder.
func noAutogroup(folder string) error {
	before, err := os.ReadFile(autogroup)
	if errors.Is(err, fs.ErrNotExist) || err == nil && strings.TrimSpace(string(before)) == "0" {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.WriteFile(autogroupWas(folder), before, 0o600); err != nil {
		return err
	}
	return os.WriteFile(autogroup, []byte("0\n"), 0)
}

// restoreAutogroup puts it back as the run of the folder found it.
func restoreAutogroup(folder string) error {
	before, err := os.ReadFile(autogroupWas(folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.WriteFile(autogroup, before, 0)
}

func autogroupWas(folder string) string { return filepath.Join(folder, "autogroup") }
