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
	// calibrating is for how long each time is asked for.
	calibrating = 400 * time.Millisecond
	// always is how many requests are under way meanwhile: so many that the only
	// worker is never idle.
	always = 4
)

// Calibrate finds out for how much longer than asked a request keeps a worker:
// timers oversleep, and accepting, reading and answering take time too. The
// server must have one worker. It is kept busy; what an answer takes beyond what
// was asked for is the overhead, of which the median over the times asked for is
// returned.
func Calibrate(ctx context.Context, server netip.AddrPort, asked []time.Duration) (overhead time.Duration, err error) {
	if len(asked) == 0 {
		return 0, errors.New("nothing to ask for")
	}
	var all []time.Duration
	for _, service := range asked {
		t := load.Closed{Server: server, Concurrency: always, Length: max(calibrating, 10*service), Service: service}.Run(ctx)
		if t.Failed > 0 || t.Answered == 0 {
			return 0, fmt.Errorf("calibrate at %s: %d answers, %d failures: %w", server, t.Answered, t.Failed, errors.Join(t.Err, context.Cause(ctx)))
		}
		if len(t.PIDs) > 1 {
			return 0, fmt.Errorf("calibrate at %s: it has several workers: %v", server, t.PIDs)
		}
		all = append(all, t.Took/time.Duration(t.Answered)-service)
	}
	slices.Sort(all)
	return max(0, all[len(all)/2]), nil
}
