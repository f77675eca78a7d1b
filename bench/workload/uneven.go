package workload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/bench/contender"
	"github.com/sockdist/sockdist/bench/load"
	"github.com/sockdist/sockdist/bench/result"
)

// uneven is queue with workers that aren't alike: one is half as fast as the
// others from the start, and in mid-run it gets to a quarter of that. Whoever
// gives it as many connections as the others makes them wait ever longer.
//
// What isn't answered within unevenTimeout counts with that time, and as failed:
// the true latency is longer.
var uneven = Workload{Name: "uneven", Title: "workers of different speed", Cases: unevenCases}

const (
	unevenWorkers = 8
	unevenLoad    = 0.4 // of workers that were all fast; so that half the speed is still enough for a fair share
	unevenTimeout = 4 * time.Second
)

// unevenFamilies are who is compared; the first of each is the baseline.
var unevenFamilies = []struct {
	family  contender.Family
	service time.Duration
	quick   []string // none: the quick size does without the case
	full    []string
}{
	{contender.Go, queueService, []string{"go-shared", "go-reuseport", "go-master-rr", "sockdist-go"},
		[]string{"go-shared", "go-reuseport", "go-master-rr", "go-master-least", "sockdist-go", "sockdist-go-p2c", "sockdist-go-rr", "haproxy-tcp-go"}},
	{contender.Node, 2 * queueService, nil,
		[]string{"node-reuseport", "node-cluster", "pm2", "node-shared", "sockdist-node", "sockdist-node-p2c", "haproxy-tcp-node"}},
}

func unevenCases(size Size) (cases []Case) {
	for _, f := range unevenFamilies {
		names := f.quick
		if size == Full {
			names = f.full
		}
		if len(names) == 0 {
			continue
		}
		u := unevenness{cell{unevenWorkers, load.Exponential, unevenLoad, f.service}, lengthOfUneven(size)}
		cases = append(cases, Case{
			Name: "uneven/" + string(f.family), Title: fmt.Sprintf("%s, %d workers, one half as fast, and then an eighth", f.family, unevenWorkers),
			Contenders: names, Baseline: names[0], Metrics: unevenMetrics(),
			Note:     fmt.Sprintf("What isn't answered within %v counts as if it took that long.", unevenTimeout),
			Length:   u.length + time.Second + time.Duration(len(names))*500*time.Millisecond, // all are started anew in each round
			Together: u.measure,
		})
	}
	return cases
}

func lengthOfUneven(size Size) time.Duration {
	if size == Quick {
		return 3 * time.Second
	}
	return 8 * time.Second
}

func unevenMetrics() (all []result.Metric) {
	for _, when := range []string{"after", "before"} {
		all = append(all,
			result.Metric{Name: "p99 " + when, Title: "latency, p99, " + whenTitle(when), Unit: "ms"},
			result.Metric{Name: "p50 " + when, Title: "latency, p50, " + whenTitle(when), Unit: "ms"},
			result.Metric{Name: "share " + when, Title: "share of the slow worker, " + whenTitle(when), Unit: "%"})
	}
	return all
}

func whenTitle(when string) string {
	if when == "before" {
		return "half as fast"
	}
	return "an eighth as fast"
}

// unevenness is a cell, and for how long it is measured.
type unevenness struct {
	cell
	length time.Duration
}

func (u unevenness) measure(ctx context.Context, e Env, all []*contender.Contender, round Round) (map[string]result.Sample, error) {
	started, samples := startLanes(ctx, e, all, contender.Setup{Workers: u.workers}, e.Fresh)
	var lanes []*lane
	slowed := map[*lane]int{}
	for _, l := range started {
		pid, err := slowOne(l.fleet)
		if err != nil {
			samples[l.contender.Name] = result.Sample{Error: err.Error()}
			continue
		}
		slowed[l] = pid
		lanes = append(lanes, l)
	}
	err := u.run(ctx, lanes, slowed, round)
	for _, l := range lanes {
		samples[l.contender.Name] = u.sample(l.outcomes, slowed[l])
	}
	for _, l := range started {
		err = errors.Join(err, l.fleet.Stop())
	}
	return samples, errors.Join(err, ctx.Err())
}

// slowOne slows a worker down, and tells which.
func slowOne(f *contender.Fleet) (pid int, err error) {
	pids, err := f.Workers()
	if err != nil {
		return 0, err
	}
	if len(pids) == 0 {
		return 0, errors.New("it has no workers")
	}
	return slices.Min(pids), slowDown(slices.Min(pids))
}

func slowDown(pid int) error {
	if err := unix.Kill(pid, unix.SIGUSR2); err != nil {
		return fmt.Errorf("slow worker %d down: %w", pid, err)
	}
	return nil
}

// run has them served, and slows down further when half of the time is over.
func (u unevenness) run(ctx context.Context, lanes []*lane, slowed map[*lane]int, round Round) (failed error) {
	arrivals := u.arrivals(round.Seed, u.length)
	over := make(chan struct{})
	var changing sync.WaitGroup
	changing.Go(func() {
		select {
		case <-over:
		case <-time.After(u.length / 2):
			failed = quarter(lanes, slowed)
		}
	})
	runLanes(ctx, shuffled(lanes, round.Seed), arrivals, unevenTimeout)
	close(over)
	changing.Wait()
	return failed
}

// quarter has the slow workers go on with a quarter of their speed. Two signals
// at once would be one.
func quarter(lanes []*lane, slowed map[*lane]int) (failed error) {
	for range 2 {
		for _, l := range lanes {
			failed = errors.Join(failed, slowDown(slowed[l]))
		}
		time.Sleep(10 * time.Millisecond)
	}
	return failed
}

// sample tells the two halves apart, the first without a warm-up.
func (u unevenness) sample(outcomes []load.Outcome, slow int) result.Sample {
	before := since(outcomes, time.Duration(queueWarm*float64(u.length)))
	after := since(outcomes, u.length/2)
	before = before[:len(before)-len(after)]
	s := result.Sample{Values: map[string]float64{}, Histogram: load.Encode(withLate(outcomes)), Series: series(outcomes)}
	for when, part := range map[string][]load.Outcome{"before": before, "after": after} {
		h := withLate(part)
		s.Values["p50 "+when], s.Values["p99 "+when] = milliseconds(h, 50), milliseconds(h, 99)
		s.Values["share "+when] = 100 * shareOf(part, slow)
	}
	s.Answered = int(load.Histogram(outcomes).TotalCount())
	s.Failed = len(outcomes) - s.Answered
	others := failuresButTimeouts(outcomes)
	s.Error = excuse(len(others), len(outcomes), firstError(others))
	return s
}
