package main

import (
	"errors"
	"io/fs"
	"os"
	"strings"
)

const autogroup = "/proc/sys/kernel/sched_autogroup_enabled"

// noAutogroup switches off that the scheduler shares CPUs out by session first
// (sched(7)). Clients and contenders come with as many sessions as they happen
// to: a worker of sockdist run has one of its own, the workers of a cluster share
// theirs with the client. That made a difference of half of a server's CPU, and
// none of it is the contender's. restore puts it back.
func noAutogroup() (restore func() error, err error) {
	before, err := os.ReadFile(autogroup)
	if errors.Is(err, fs.ErrNotExist) || err == nil && strings.TrimSpace(string(before)) == "0" {
		return func() error { return nil }, nil
	}
	if err != nil {
		return nil, err
	}
	return func() error { return os.WriteFile(autogroup, before, 0) }, os.WriteFile(autogroup, []byte("0\n"), 0)
}
