package theory

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/sockdist/sockdist/bench/load"
)

const (
	// calibrating is for how long a time is asked for at once, and calibrations
	// how often: a machine that is busy for a moment shouldn't decide.
	calibrating  = 200 * time.Millisecond
	calibrations = 3
	// always is how many requests are under way meanwhile: so many that the only
	// worker is never idle.
	always = 4
)

// Calibrate finds out for how much longer than asked a request keeps a worker:
// timers oversleep, and accepting, reading and answering take time too. The
// server must have one worker. It is kept busy; what it takes for an answer beyond
// what was asked for is the overhead, of which the median over the times asked
// for is returned.
func Calibrate(ctx context.Context, server netip.AddrPort, asked []time.Duration) (overhead time.Duration, err error) {
	if len(asked) == 0 {
		return 0, errors.New("nothing to ask for")
	}
	var all []time.Duration
	for range calibrations {
		for _, service := range asked {
			beyond, err := beyondAsked(ctx, server, service)
			if err != nil {
				return 0, fmt.Errorf("calibrate at %s: %w", server, err)
			}
			all = append(all, beyond)
		}
	}
	slices.Sort(all)
	return max(0, all[len(all)/2]), nil
}

// beyondAsked is what an answer keeps the worker for, beyond what is asked for.
// Who asks waits for those that asked before, as many as there always are; the
// median of that is the same however often something else delays the worker,
// which the mean isn't.
func beyondAsked(ctx context.Context, server netip.AddrPort, service time.Duration) (time.Duration, error) {
	t := load.Closed{Server: server, Concurrency: always, Length: max(calibrating, 20*service), Service: service}.Run(ctx)
	switch {
	case t.Failed > 0 || t.Answered == 0:
		return 0, fmt.Errorf("%d answers, %d failures: %w", t.Answered, t.Failed, errors.Join(t.Err, context.Cause(ctx)))
	case len(t.PIDs) > 1:
		return 0, fmt.Errorf("it has several workers: %v", t.PIDs)
	}
	waited := time.Duration(t.Latency.ValueAtQuantile(50)) * time.Microsecond
	return waited/always - service, nil
}
