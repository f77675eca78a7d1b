package theory

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/sockdist/sockdist/bench/load"
)

// samples is how many are drawn for a representative one.
const samples = 1000

// Representative are arrivals of a queue that are like those of an endless run:
// of a thousand samples, the one whose responses, by the recursion, are nearest
// to the formulas in mean, 90th and 99th percentile. The responses of some
// thousand arrivals at random differ from theory by 10 % and more, which would
// hide by how much a machine does. Nothing that is measured is in the choice.
func Representative(seed uint64, q Queue, length time.Duration) []load.Arrival {
	want, nearest := expected(q), math.Inf(1)
	var best []load.Arrival
	for i := range uint64(samples) {
		arrivals := q.arrivals(rand.New(rand.NewPCG(seed, i)), length)
		if len(arrivals) == 0 {
			continue
		}
		if off := of(FirstCome(arrivals, q.Servers)).off(want); off < nearest {
			best, nearest = arrivals, off
		}
	}
	return best
}

func (q Queue) arrivals(r *rand.Rand, length time.Duration) []load.Arrival {
	return load.Poisson(r, q.Rate, length, load.Exponential, duration(q.Service))
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
