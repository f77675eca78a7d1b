package workload

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// stall stops a worker for a while: what a debugger, a swapped machine, or an
// endless loop does to it.
var stall = Workload{
	Name:  "stall",
	Title: "A worker that stands still",
	Cases: func(size Size) []Case {
		t := trial{length: beforeStall + stallFor + afterStall, atOnce: trialAtOnce, happens: stallOne}
		return t.cases("stall", "One of 4 workers is stopped for 2 s", size, 0)
	},
}

const (
	beforeStall = time.Second // in the second half of which the stalls of a wave begin
	stallFor    = 2 * time.Second
	afterStall  = 500 * time.Millisecond
)

func stallOne(ctx context.Context, m member) (_ map[string]float64, err error) {
	pid, err := anyOf(m, 0)
	if err != nil {
		return nil, err
	}
	begin := m.begin.Add(beforeStall/2 + time.Duration(m.place*float64(beforeStall/2)))
	if err := pause(ctx, begin); err != nil {
		return nil, err
	}
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		return nil, err
	}
	err = pause(ctx, begin.Add(stallFor))
	return nil, errors.Join(err, unix.Kill(pid, unix.SIGCONT), whole(ctx, m.fleet, workersOf))
}
