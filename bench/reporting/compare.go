package main

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/sockdist/sockdist/loader"
)

// A question is one load for several reporters. The first is what the others are
// compared with.
type question struct {
	title     string
	workers   int
	reporters []reporter
	kinds     []kind
	settings  []string // of the workers' environment
	picks     bool     // also what a pick takes
}

// compare lets the reporters take turns.
func (b *bench) compare(q question) (*comparison, error) {
	c := newComparison(q)
	random := rand.New(rand.NewPCG(b.seed, uint64(q.workers)))
	for round := range b.rounds {
		seed := random.Uint64()
		for _, i := range random.Perm(len(q.reporters)) {
			b.progress.Show("%d workers, round %d of %d: %s", q.workers, round+1, b.rounds, q.reporters[i].name)
			s, err := b.once(q, q.reporters[i], seed)
			if err != nil {
				return nil, err
			}
			c.Rows[i].samples = append(c.Rows[i].samples, s)
		}
	}
	c.conclude()
	return c, nil
}

// A sample is what came of one load. Times are in milliseconds.
type sample struct {
	mean, p50, p99, most float64
	byKind               map[string]float64 // p99
	busiest              float64            // the most that a worker got, × the mean
	failed, requests     int
	pick                 float64 // nanoseconds; 0: not known
}

func (b *bench) once(q question, r reporter, seed uint64) (s sample, err error) {
	f, err := b.startFleet(r, q.workers, append([]string{loopsVariable + "=0"}, q.settings...)...)
	if err != nil {
		return s, err
	}
	defer f.end()
	var stop func() (float64, error)
	if q.picks {
		if stop, err = f.timePicks(); err != nil {
			return s, err
		}
	}
	record := applyLoad(b.ctx, f.address, q.kinds, b.length, seed)
	if err := b.ctx.Err(); err != nil {
		return s, err
	}
	s = record.sample()
	s.busiest = busiest(record.workers, q.workers)
	if q.picks {
		s.pick, err = stop()
	}
	if s.failed > 0 {
		err = fmt.Errorf("%s: %d of %d requests failed: %w", r.name, s.failed, s.requests, record.why)
	}
	return s, err
}

func (r *record) sample() sample {
	all := r.all()
	s := sample{
		mean: all.Mean() / 1e3, p50: ms(all.ValueAtQuantile(50)), p99: ms(all.ValueAtQuantile(99)), most: ms(all.Max()),
		byKind: make(map[string]float64), failed: r.failed, requests: int(all.TotalCount()),
	}
	for name, h := range r.latencies {
		s.byKind[name] = ms(h.ValueAtQuantile(99))
	}
	return s
}

func ms(micros int64) float64 { return float64(micros) / 1e3 }

// timePicks begins to time the group's program. The result tells what a run took
// since, in nanoseconds.
func (f *fleet) timePicks() (stop func() (float64, error), err error) {
	groups := f.groups()
	if len(groups) != 1 {
		return nil, fmt.Errorf("%d groups", len(groups))
	}
	host, err := loader.Open(loader.Options{Dir: f.b.pins})
	if err != nil {
		return nil, err
	}
	group, err := host.Group(groups[0].Name)
	if err != nil {
		return nil, err
	}
	defer group.Close()
	program, err := group.Steering()
	if err != nil {
		return nil, err
	}
	timing, err := loader.TimeRuns()
	if err != nil {
		program.Close()
		return nil, err
	}
	before, err := program.Runs()
	if err != nil {
		timing.Close()
		program.Close()
		return nil, err
	}
	return func() (float64, error) {
		defer program.Close()
		defer timing.Close()
		after, err := program.Runs()
		if err != nil || after.Count == before.Count {
			return 0, err
		}
		return float64((after.Time - before.Time).Nanoseconds()) / float64(after.Count-before.Count), nil
	}, nil
}

// median is the upper one of an even number.
func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}
