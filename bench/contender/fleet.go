package contender

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sockdist/sockdist/bench/result"
	"github.com/sockdist/sockdist/internal/cgroup"
)

// patience bounds every wait for a fleet.
const patience = 30 * time.Second

// A Fleet is one contender that runs. Its methods are for one goroutine.
type Fleet struct {
	Address  netip.AddrPort  // where clients connect
	Commands [][]string      // as started
	Configs  []result.Config // as written

	// Workers are the processes that serve now, in no order.
	Workers func() ([]int, error)
	// Reload replaces every worker by a new one, without losing what is under
	// way if the contender can; it returns when all are replaced. nil: it can't.
	Reload func(ctx context.Context) error
	// Grow adds a worker, and returns when it serves. nil: it can't.
	Grow func(ctx context.Context) error

	setup     *Setup
	processes []*Process
	trees     []accounted // beside the setup's leaf
	ends      []func() error
}

// accounted is a cgroup whose processes belong to a fleet.
type accounted interface {
	CPUTime() (time.Duration, error)
	Procs() ([]int, error)
}

var _ accounted = (*cgroup.Leaf)(nil)

// begun is the fleet that is being started.
func (s *Setup) begun() *Fleet {
	if s.fleet == nil {
		s.fleet = &Fleet{setup: s}
	}
	return s.fleet
}

// fail ends what was started so far.
func (s *Setup) fail(err error) (*Fleet, error) {
	return nil, errors.Join(err, s.begun().Stop())
}

// all are the cgroups of the fleet.
func (f *Fleet) all() []accounted {
	return append([]accounted{f.setup.Leaf}, f.trees...)
}

// CPU is what all its processes have used so far, masters and proxies included,
// those that ended too. What the kernel does for them in softirqs is in it only
// as far as the kernel charges it to them.
func (f *Fleet) CPU() (total time.Duration, err error) {
	for _, c := range f.all() {
		used, err := c.CPUTime()
		if err != nil {
			return 0, err
		}
		total += used
	}
	return total, nil
}

// PIDs are all its processes.
func (f *Fleet) PIDs() (all []int, err error) {
	for _, c := range f.all() {
		pids, err := c.Procs()
		if err != nil {
			return nil, err
		}
		all = append(all, pids...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// Memory is the proportional set size of all its processes, in bytes: what
// they share counts once.
func (f *Fleet) Memory() (total uint64, err error) {
	pids, err := f.PIDs()
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue // it ended meanwhile
		}
		for line := range strings.Lines(string(text)) {
			var kilobytes uint64
			if n, _ := fmt.Sscanf(line, "Pss: %d kB", &kilobytes); n == 1 {
				total += kilobytes << 10
			}
		}
	}
	return total, nil
}

// Alive is nil as long as every process that was started directly runs.
func (f *Fleet) Alive() error {
	for _, p := range f.processes {
		if err := p.Ended(); err != nil {
			return err
		}
	}
	return nil
}

// Stop ends all of it, by force where need be.
func (f *Fleet) Stop() error {
	var failed error
	for _, end := range slices.Backward(f.ends) {
		failed = errors.Join(failed, end())
	}
	f.ends = nil
	failed = errors.Join(failed, f.setup.Leaf.Kill())
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	failed = errors.Join(failed, f.setup.Leaf.WaitEmpty(ctx))
	for _, p := range f.processes {
		<-p.ended
	}
	return failed
}
