package theory

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/sockdist/sockdist/bench/load"
	"github.com/sockdist/sockdist/bench/result"
)

// Tolerance is by how much a check may be off on a machine that is good enough.
const Tolerance = 0.05

// A Station is a server whose workers serve one at a time, from one queue.
type Station struct {
	Server  netip.AddrPort
	Workers int
	// Ask is what to ask for, so that a worker is kept for a time.
	Ask func(time.Duration) time.Duration
}

// Check compares the station with theory, at a load: mean, p90 and p99 of the
// response, in ms. The arrivals are representative; see there. What each check
// is off by is then the machine's doing, but for a percent or two.
func Check(ctx context.Context, s Station, at float64, mean, length time.Duration, seed uint64) ([]result.Check, error) {
	q := At(s.Workers, at, mean.Seconds())
	arrivals := Representative(seed, q, length)
	if len(arrivals) == 0 {
		return nil, fmt.Errorf("%v is too short for a check", length)
	}
	responses, err := s.responses(ctx, arrivals)
	if err != nil {
		return nil, err
	}
	want, got := expected(q), of(responses)
	name := func(what string) string { return fmt.Sprintf("M/M/%d, load %g, %s", s.Workers, at, what) }
	return []result.Check{
		{Name: name("mean"), Expected: 1e3 * want.mean, Measured: 1e3 * got.mean, Unit: "ms"},
		{Name: name("p90"), Expected: 1e3 * want.p90, Measured: 1e3 * got.p90, Unit: "ms"},
		{Name: name("p99"), Expected: 1e3 * want.p99, Measured: 1e3 * got.p99, Unit: "ms"},
	}, nil
}

// responses are in the order of the arrivals.
func (s Station) responses(ctx context.Context, arrivals []load.Arrival) (all []time.Duration, err error) {
	outcomes := load.Open{Server: s.Server, Arrivals: s.asked(arrivals)}.Run(ctx)
	for i := range outcomes {
		if err := outcomes[i].Err; err != nil {
			return nil, fmt.Errorf("check at %s: request %d: %w", s.Server, i, err)
		}
		all = append(all, outcomes[i].Latency)
	}
	return all, nil
}

func (s Station) asked(arrivals []load.Arrival) []load.Arrival {
	asked := make([]load.Arrival, len(arrivals))
	for i, a := range arrivals {
		asked[i] = load.Arrival{At: a.At, Service: max(1, s.Ask(a.Service))}
	}
	return asked
}

// Noisy tells whether some check is off by more than the tolerance.
func Noisy(checks []result.Check) bool {
	for _, c := range checks {
		if !(math.Abs(c.Measured/c.Expected-1) <= Tolerance) { // NaN is noise too
			return true
		}
	}
	return false
}
