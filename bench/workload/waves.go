package workload

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/sockdist/sockdist/bench/contender"
	"github.com/sockdist/sockdist/bench/result"
)

// Waves measure a few contenders at the same time, and then the next few: where
// most of the time goes by with waiting, that is what makes it affordable. Who
// is in a wave with whom changes from round to round.
type waves struct {
	atOnce int
	start  func(ctx context.Context, e Env, c *contender.Contender) (*contender.Fleet, error)
	// measure measures one, beside the others of its wave.
	measure func(ctx context.Context, m member) (result.Sample, error)
	stops   bool // fleets are stopped after their wave, while the next one goes on
}

// A member is a contender in its wave.
type member struct {
	*contender.Contender
	fleet *contender.Fleet
	round Round
	env   Env
	begin time.Time // of all in the wave
	place float64   // from 0 up to 1: of this one in the wave, for what mustn't happen to all at once
}

// together measures all, wave by wave.
func (w waves) together(ctx context.Context, e Env, all []*contender.Contender, round Round) (samples map[string]result.Sample, err error) {
	samples = make(map[string]result.Sample)
	var stopping stops
	defer func() { err = errors.Join(err, stopping.wait()) }()
	for some := range slices.Chunk(mixed(all, round.Seed), evenly(len(all), w.atOnce)) {
		members := w.startAll(ctx, e, some, round, samples)
		e.Say("round %d, %d at once", round.Number+1, len(members))
		w.measureAll(ctx, members, samples)
		if err := ctx.Err(); err != nil {
			return samples, err
		}
		for _, m := range members {
			if w.stops {
				stopping.add(m.fleet)
			}
		}
	}
	return samples, nil
}

// evenly is how many make a wave, at most most, so that waves are alike.
func evenly(all, most int) int {
	if all == 0 {
		return 1
	}
	number := (all + most - 1) / most
	return (all + number - 1) / number
}

func mixed(all []*contender.Contender, seed uint64) []*contender.Contender {
	all = slices.Clone(all)
	rand.New(rand.NewPCG(seed, 7)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// stops end fleets beside what else goes on.
type stops struct {
	running sync.WaitGroup
	mu      sync.Mutex
	failed  error
}

func (s *stops) add(f *contender.Fleet) {
	s.running.Go(func() {
		err := f.Stop()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.failed = errors.Join(s.failed, err)
	})
}

func (s *stops) wait() error {
	s.running.Wait()
	return s.failed
}

// startAll starts a wave; who can't be started has that for a sample.
func (w waves) startAll(ctx context.Context, e Env, some []*contender.Contender, round Round, samples map[string]result.Sample) (members []member) {
	for _, c := range some {
		e.Say("round %d, starting %s", round.Number+1, c.Name)
		f, err := w.start(ctx, e, c)
		if err != nil {
			samples[c.Name] = result.Sample{Error: err.Error()}
			continue
		}
		members = append(members, member{Contender: c, fleet: f, round: round, env: e, place: float64(len(members)) / float64(len(some))})
	}
	return members
}

func (w waves) measureAll(ctx context.Context, members []member, samples map[string]result.Sample) {
	var mu sync.Mutex
	var running sync.WaitGroup
	begin := time.Now().Add(20 * time.Millisecond)
	for _, m := range members {
		m.begin = begin
		running.Go(func() {
			s, err := w.measure(ctx, m)
			if err != nil {
				s.Error = err.Error()
			}
			mu.Lock()
			defer mu.Unlock()
			samples[m.Name] = s
		})
	}
	running.Wait()
}

// workersOf is how many workers all fleets of these workloads have.
const workersOf = 4

// kept starts a fleet, or gets the one of the rounds before.
func kept(ctx context.Context, e Env, c *contender.Contender) (*contender.Fleet, error) {
	return e.Fleet(ctx, c, contender.Setup{Workers: workersOf})
}

// fresh starts one for one round.
func fresh(ctx context.Context, e Env, c *contender.Contender) (*contender.Fleet, error) {
	return e.Fresh(ctx, c, contender.Setup{Workers: workersOf})
}

// pause waits until the moment, or the context's end.
func pause(ctx context.Context, until time.Time) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(until)):
		return nil
	}
}

// random is the same for all contenders in a round.
func (r Round) random() *rand.Rand { return rand.New(rand.NewPCG(r.Seed, 3)) }
