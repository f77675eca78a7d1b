package contender

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// serving tells whether a process is an app that serves: the apps of Node and
// Python catch SIGUSR2 from when they listen on. Masters, helpers and workers
// that only begin aren't.
func serving(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "State:\tZ") {
			return false // a master that doesn't look after its children
		}
		if caught, ok := strings.CutPrefix(line, "SigCgt:"); ok {
			mask, err := strconv.ParseUint(strings.TrimSpace(caught), 16, 64)
			return err == nil && mask>>(unix.SIGUSR2-1)&1 == 1
		}
	}
	return false
}

// below are the children of masters that serve.
func below(masters func() ([]int, error)) func() ([]int, error) {
	return func() (pids []int, err error) {
		parents, err := masters()
		if err != nil {
			return nil, err
		}
		for _, parent := range parents {
			forked, err := children(parent)
			if err != nil {
				return nil, err
			}
			pids = append(pids, forked...)
		}
		return slices.DeleteFunc(pids, func(pid int) bool { return !serving(pid) }), nil
	}
}

// below are the workers that p forked.
func (p *Process) below() func() ([]int, error) {
	return below(func() ([]int, error) { return []int{p.PID}, nil })
}

// reloadBy is a Reload that a master begins at a signal.
func (f *Fleet) reloadBy(p *Process, signal syscall.Signal) func(context.Context) error {
	return f.changedBy(p, signal, f.replaced)
}

// changedBy signals a master, and waits for what becomes of the workers.
func (f *Fleet) changedBy(p *Process, signal syscall.Signal, wait func(ctx context.Context, before []int) error) func(context.Context) error {
	return func(ctx context.Context) error {
		before, err := f.Workers()
		if err != nil {
			return err
		}
		if err := p.Signal(signal); err != nil {
			return err
		}
		return wait(ctx, before)
	}
}

// replaced waits until as many workers serve as before, and those of before
// are no more.
func (f *Fleet) replaced(ctx context.Context, before []int) error {
	return f.until(ctx, func(now []int) bool {
		return len(now) == len(before) && !slices.ContainsFunc(before, alive)
	})
}

// growBy is a Grow for which a master forks at a signal.
func (f *Fleet) growBy(p *Process, signal syscall.Signal) func(context.Context) error {
	return f.changedBy(p, signal, f.grown)
}

// grown waits until there is one more worker.
func (f *Fleet) grown(ctx context.Context, before []int) error {
	return f.until(ctx, func(now []int) bool { return len(now) == len(before)+1 })
}

// until waits until the workers are as they should be.
func (f *Fleet) until(ctx context.Context, as func(now []int) bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		now, err := f.Workers()
		if err != nil {
			return err
		}
		if as(now) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("workers %v serve: %w", now, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func alive(pid int) bool { return unix.Kill(pid, 0) == nil }
