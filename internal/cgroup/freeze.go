package cgroup

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// mostFreezing is how long Frozen waits for the processes to stand.
const mostFreezing = 200 * time.Millisecond

// Frozen runs f while all processes of the cgroup, and of those below it,
// stand still, and lets them go on afterwards. They see nothing of it, but that
// some system calls, epoll_wait for one, end with EINTR, as after SIGCONT; accept
// starts again by itself. It takes a millisecond, mostly.
//
// A process that sleeps in the kernel freezes when it wakes. For such a one
// Frozen waits 200 ms, or until the context is over, and then runs f all the
// same.
//
// It returns what f returned, joined with why the cgroup couldn't be frozen or
// let go; f runs in any case. When this process is killed in between, the cgroup
// stays frozen: who takes it over calls [Leaf.Thaw].
func (d directory) Frozen(ctx context.Context, f func() error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, mostFreezing)
	defer cancel()

	failed := d.freeze(ctx)
	defer func() { err = errors.Join(err, failed, d.Thaw()) }()
	return f()
}

func (d directory) freeze(ctx context.Context) error {
	err := writeFile(d.freezer(), "1")
	if err == nil {
		err = d.waitFor(ctx, frozen)
	}
	if err == nil || vanished(err) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return nil
	}
	return fmt.Errorf("freeze cgroup %s: %w", d.path, err)
}

// Thaw lets the processes of the cgroup go on, whether or not they were frozen.
// A cgroup that is gone is no error.
func (d directory) Thaw() error {
	if err := writeFile(d.freezer(), "0"); err != nil && !vanished(err) {
		return fmt.Errorf("let the processes of cgroup %s go on: %w", d.path, err)
	}
	return nil
}

func (d directory) freezer() string { return filepath.Join(d.path, "cgroup.freeze") }

func frozen(events string) bool { return strings.Contains(events, "frozen 1") }
