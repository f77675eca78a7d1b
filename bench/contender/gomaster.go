package contender

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// goMaster starts the master of bench/peers/go, which looks after its workers,
// and gives each GOMAXPROCS=1.
func goMaster(policy string) func(context.Context, *Setup) (*Fleet, error) {
	return func(ctx context.Context, s *Setup) (*Fleet, error) {
		port, err := freePort()
		if err != nil {
			return s.fail(err)
		}
		args := append([]string{s.Programs.Master, "-policy", policy, "-n", strconv.Itoa(s.Workers), "--"}, s.goServer().Args...)
		process, err := s.Start(Command{Args: args, Env: []string{fmt.Sprintf("PORT=%d", port)}})
		if err != nil {
			return s.fail(err)
		}
		m := master{process}
		f := s.begun()
		f.Workers, f.Reload, f.Grow = m.workers, m.reload, m.grow
		return s.ready(ctx, local(port))
	}
}

type master struct{ *Process }

// workers are the children that the master says serve.
func (m master) workers() ([]int, error) {
	pids, err := children(m.PID)
	if err != nil {
		return nil, err
	}
	said, err := os.ReadFile(m.log)
	if err != nil {
		return nil, err
	}
	serving := make(map[string]bool)
	for line := range strings.Lines(string(said)) {
		serving[strings.TrimSpace(line)] = true
	}
	return slices.DeleteFunc(pids, func(pid int) bool { return !serving[fmt.Sprintf("worker %d serves", pid)] }), nil
}

// reload waits until old workers have ended, since that is when the last of
// their connections is answered.
func (m master) reload(ctx context.Context) error {
	old, err := m.workers()
	if err != nil {
		return err
	}
	if err := m.Signal(unix.SIGHUP); err != nil {
		return err
	}
	return m.await(ctx, func(now []int) bool {
		return len(now) >= len(old) && !slices.ContainsFunc(now, func(pid int) bool { return slices.Contains(old, pid) })
	})
}

func (m master) grow(ctx context.Context) error {
	before, err := m.workers()
	if err != nil {
		return err
	}
	if err := m.Signal(unix.SIGUSR1); err != nil {
		return err
	}
	return m.await(ctx, func(now []int) bool { return len(now) > len(before) })
}

func (m master) await(ctx context.Context, done func([]int) bool) error {
	for {
		now, err := m.workers()
		switch {
		case err != nil:
			return err
		case m.Ended() != nil:
			return m.Ended()
		case done(now):
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("workers are %v: %w", now, ctx.Err())
		}
		time.Sleep(10 * time.Millisecond)
	}
}
