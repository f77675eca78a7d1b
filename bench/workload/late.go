package workload

import (
	"errors"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/sockdist/sockdist/bench/load"
	"github.com/sockdist/sockdist/bench/result"
)

// withLate is a histogram that has what timed out in it, too, with the time
// that it was waited for.
func withLate(outcomes []load.Outcome) *hdrhistogram.Histogram {
	h := load.NewHistogram()
	for i := range outcomes {
		if err := outcomes[i].Err; err == nil || errors.Is(err, load.ErrTimeout) {
			load.Record(h, outcomes[i].Latency)
		}
	}
	return h
}

// failuresButTimeouts are those that failed otherwise.
func failuresButTimeouts(outcomes []load.Outcome) []load.Outcome {
	return slices.DeleteFunc(slices.Clone(outcomes), func(o load.Outcome) bool {
		return o.Err == nil || errors.Is(o.Err, load.ErrTimeout)
	})
}

// shareOf is the share of the answers that a process gave.
func shareOf(outcomes []load.Outcome, pid int) float64 {
	var all, its int
	for i := range outcomes {
		if outcomes[i].Err != nil {
			continue
		}
		all++
		if outcomes[i].PID == pid {
			its++
		}
	}
	if all == 0 {
		return 0
	}
	return float64(its) / float64(all)
}

// series is p50 and p99 of what was due in each second.
func series(outcomes []load.Outcome) (points []result.Point) {
	for second := 0; len(outcomes) > 0; second++ {
		rest := since(outcomes, time.Duration(second+1)*time.Second)
		part := outcomes[:len(outcomes)-len(rest)]
		if len(part) > 0 {
			h := withLate(part)
			points = append(points, result.Point{Second: float64(second), Values: map[string]float64{
				"p50": milliseconds(h, 50), "p99": milliseconds(h, 99)}})
		}
		outcomes = rest
	}
	return points
}
