package sim

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
)

// A Comparison is what several contenders made of one scenario, in several rounds.
type Comparison struct {
	Scenario Scenario `json:"scenario"`
	Seed     uint64   `json:"seed"` // of the first round; the next has the next
	Rounds   int      `json:"rounds"`
	Rows     []*Row   `json:"rows"` // the last is the shared queue
}

// A Row is one contender. Latencies are in mean service times: see Result.
type Row struct {
	Contender string `json:"contender"`
	Requests  int64  `json:"requests"` // measured, of all rounds
	Mean      Figure `json:"mean"`
	P50       Figure `json:"p50"`
	P90       Figure `json:"p90"`
	P99       Figure `json:"p99"`
	P999      Figure `json:"p999"`
	Max       Figure `json:"max"`

	Idle     float64 `json:"waited_beside_idle"` // share of the requests that came to a busy worker while another was idle
	Longest  int     `json:"longest_queue"`      // of one worker, in any round
	Migrated int64   `json:"migrated"`
	Lost     int64   `json:"lost"`
	Refused  int64   `json:"refused"`

	results []*Result
}

// A Figure is of several rounds.
type Figure struct {
	Median float64 `json:"median"` // in mean service times
	Ratio  float64 `json:"ratio"`  // median of the ratios to the shared queue's figure of the same round
	Low    float64 `json:"low"`    // extremes of the ratio
	High   float64 `json:"high"`
}

// Compare has every contender, and the shared queue as the last one, go through
// the scenario in each round. done, unless it is nil, is called after every run
// with the share that is done, by one goroutine at a time. Errors are as those of Simulate.
func Compare(ctx context.Context, s Scenario, contenders []string, rounds int, seed uint64, done func(float64)) (*Comparison, error) {
	s, err := s.complete()
	if err != nil {
		return nil, err
	}
	if rounds < 1 {
		return nil, fmt.Errorf("rounds %d: must be 1 or more", rounds)
	}
	c := &Comparison{Scenario: s, Seed: seed, Rounds: rounds}
	for _, name := range append(slices.DeleteFunc(slices.Clone(contenders), isShared), sharedQueue) {
		c.Rows = append(c.Rows, &Row{Contender: name, results: make([]*Result, rounds)})
	}
	if err := c.run(ctx, done); err != nil {
		return nil, err
	}
	c.conclude()
	return c, nil
}

func isShared(contender string) bool { return contender == sharedQueue }

// Cell is Compare for one contender: its row.
func Cell(ctx context.Context, s Scenario, contender string, rounds int, seed uint64) (*Row, error) {
	c, err := Compare(ctx, s, []string{contender}, rounds, seed, nil)
	if err != nil {
		return nil, err
	}
	return c.Rows[0], nil
}

// Ratio is the quantile q of a contender's latencies, 0 … 1, as a ratio to that
// of the shared queue: the median of so many rounds, and the extremes.
func Ratio(ctx context.Context, s Scenario, contender string, q float64, rounds int, seed uint64) (Figure, error) {
	c, err := Compare(ctx, s, []string{contender}, rounds, seed, nil)
	if err != nil {
		return Figure{}, err
	}
	return c.figure(c.Rows[0], func(r *Result) float64 { return r.Quantile(q) }), nil
}

// run lets as many runs go on at once as there are processors.
func (c *Comparison) run(ctx context.Context, done func(float64)) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		group    sync.WaitGroup
		mu       sync.Mutex
		finished int
		turns    = make(chan struct{}, runtime.GOMAXPROCS(0))
	)
	for i := range c.Rounds * len(c.Rows) {
		turns <- struct{}{}
		group.Go(func() {
			defer func() { <-turns }()
			round, row := i/len(c.Rows), c.Rows[i%len(c.Rows)]
			result, err := Simulate(ctx, c.Scenario, row.Contender, c.Seed+uint64(round))
			if err != nil {
				cancel(err)
				return
			}
			row.results[round] = result
			mu.Lock()
			defer mu.Unlock()
			if finished++; done != nil {
				done(float64(finished) / float64(c.Rounds*len(c.Rows)))
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// conclude turns results into figures.
func (c *Comparison) conclude() {
	for _, row := range c.Rows {
		for figure, q := range map[*Figure]float64{&row.P50: 0.5, &row.P90: 0.9, &row.P99: 0.99, &row.P999: 0.999, &row.Max: 1} {
			*figure = c.figure(row, func(r *Result) float64 { return r.Quantile(q) })
		}
		row.Mean = c.figure(row, (*Result).Mean)
		for _, r := range row.results {
			row.Requests += r.Requests
			row.Idle += r.Idle / float64(c.Rounds)
			row.Longest = max(row.Longest, r.Longest)
			row.Migrated += r.Migrated
			row.Lost += r.Lost
			row.Refused += r.Refused
		}
	}
}

func (c *Comparison) figure(row *Row, value func(*Result) float64) Figure {
	var values, ratios []float64
	for i, base := range c.Rows[len(c.Rows)-1].results {
		values = append(values, value(row.results[i]))
		ratios = append(ratios, value(row.results[i])/value(base))
	}
	return Figure{median(values), median(ratios), slices.Min(ratios), slices.Max(ratios)}
}

// median is the upper one of an even number.
func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}
