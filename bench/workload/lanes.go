package workload

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/sockdist/sockdist/bench/contender"
	"github.com/sockdist/sockdist/bench/load"
	"github.com/sockdist/sockdist/bench/result"
)

// lanesApart is how long one client begins after the other, so that one CPU
// doesn't have to do the same for all at the same moment.
const lanesApart = 700 * time.Microsecond

// since leaves out what was due before.
func since(outcomes []load.Outcome, from time.Duration) []load.Outcome {
	for i := range outcomes {
		if outcomes[i].At >= from {
			return outcomes[i:]
		}
	}
	return nil
}

// A lane is a contender with a client of its own, beside others.
type lane struct {
	contender *contender.Contender
	fleet     *contender.Fleet
	ask       func(time.Duration) time.Duration
	outcomes  []load.Outcome
}

// startLanes starts all of them, one at a time where they can. Those that don't
// start have a sample that says why.
func startLanes(ctx context.Context, e Env, all []*contender.Contender, s contender.Setup,
	start func(context.Context, *contender.Contender, contender.Setup) (*contender.Fleet, error)) (lanes []*lane, samples map[string]result.Sample) {
	samples = map[string]result.Sample{}
	for _, c := range all {
		s.Serial = c.Can.Has(contender.Serial)
		f, err := start(ctx, c, s)
		if err != nil {
			samples[c.Name] = result.Sample{Error: err.Error()}
			continue
		}
		ask := func(d time.Duration) time.Duration { return max(1, e.Service(c.Family, d)) }
		lanes = append(lanes, &lane{contender: c, fleet: f, ask: ask})
	}
	return lanes, samples
}

// shuffled is another order for each round, so that nobody is always the first.
func shuffled(lanes []*lane, seed uint64) []*lane {
	lanes = slices.Clone(lanes)
	rand.New(rand.NewPCG(seed, 1)).Shuffle(len(lanes), func(i, j int) { lanes[i], lanes[j] = lanes[j], lanes[i] })
	return lanes
}

// runLanes sends all of them the same.
func runLanes(ctx context.Context, lanes []*lane, arrivals []load.Arrival, timeout time.Duration) {
	start := time.Now().Add(50 * time.Millisecond)
	var running sync.WaitGroup
	for i, l := range lanes {
		open := load.Open{Server: l.fleet.Address, Arrivals: l.asked(arrivals), Timeout: timeout, Start: start.Add(time.Duration(i) * lanesApart)}
		running.Go(func() { l.outcomes = open.Run(ctx) })
	}
	running.Wait()
}

// asked are the arrivals with what has to be asked for.
func (l *lane) asked(arrivals []load.Arrival) []load.Arrival {
	asked := make([]load.Arrival, len(arrivals))
	for i, a := range arrivals {
		asked[i] = load.Arrival{At: a.At, Service: l.ask(a.Service)}
	}
	return asked
}
