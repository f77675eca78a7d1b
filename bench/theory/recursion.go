package theory

import (
	"slices"
	"time"

	"github.com/sockdist/sockdist/bench/load"
)

// FirstCome are the responses of those arrivals, if servers serve them first
// come first served, from one queue: the recursion of Lindley, for several
// servers that of Kiefer and Wolfowitz. It has no chance in it, so that a
// real server can be compared with it however few the arrivals are.
func FirstCome(arrivals []load.Arrival, servers int) []time.Duration {
	free := make([]time.Duration, servers) // when each is
	responses := make([]time.Duration, len(arrivals))
	for i, a := range arrivals {
		first := soonest(free)
		free[first] = max(free[first], a.At) + a.Service
		responses[i] = free[first] - a.At
	}
	return responses
}

func soonest(free []time.Duration) (first int) {
	for i := range free {
		if free[i] < free[first] {
			first = i
		}
	}
	return first
}

// A summary is what is compared of responses, in seconds.
type summary struct{ mean, p90, p99 float64 }

// of sorts the responses.
func of(responses []time.Duration) summary {
	slices.Sort(responses)
	var sum time.Duration
	for _, r := range responses {
		sum += r
	}
	n := len(responses)
	return summary{sum.Seconds() / float64(n), responses[n*90/100].Seconds(), responses[n*99/100].Seconds()}
}

// expected is of the formulas.
func expected(q Queue) summary { return summary{q.Mean(), q.Quantile(0.90), q.Quantile(0.99)} }

// off is by how much a differs from b, relatively, where it differs most.
func (a summary) off(b summary) float64 {
	return max(relative(a.mean, b.mean), relative(a.p90, b.p90), relative(a.p99, b.p99))
}

func relative(a, b float64) float64 { return max(a/b, b/a) - 1 }
