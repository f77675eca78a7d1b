package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// A kind is connections that are alike.
type kind struct {
	name string
	// alive is how many there are at a time, on average. They come at random,
	// and stay for life, on average. A life of 0: one request each.
	alive float64
	life  time.Duration
	rate  float64 // requests a second on each of them
	// cost of a request, in microseconds.
	cost float64
	// streams is how many requests a connection can have in flight.
	streams int
}

// A plan is one connection: when it comes, and the moments at which its requests
// are due. All are since the begin.
type plan struct {
	kind *kind
	due  []time.Duration
}

// plans are the connections of a load, in the order in which they come. The
// population is there from the begin, nearly.
func plans(kinds []kind, length time.Duration, random *rand.Rand) (all []plan) {
	for i := range kinds {
		k := &kinds[i]
		if k.life == 0 { // alive × rate connections a second, with a request each
			for at := after(k.alive*k.rate, random); at < length; at += after(k.alive*k.rate, random) {
				all = append(all, plan{k, []time.Duration{at}})
			}
			continue
		}
		for range int(math.Round(k.alive)) {
			all = append(all, k.plan(time.Duration(random.Int64N(int64(200*time.Millisecond))), length, random))
		}
		births := k.alive / k.life.Seconds()
		for at := after(births, random); at < length; at += after(births, random) {
			all = append(all, k.plan(at, length, random))
		}
	}
	all = slices.DeleteFunc(all, func(p plan) bool { return len(p.due) == 0 })
	slices.SortStableFunc(all, func(a, b plan) int { return int(a.due[0] - b.due[0]) })
	return all
}

// plan has the first request come with the connection.
func (k *kind) plan(begin, length time.Duration, random *rand.Rand) plan {
	p := plan{kind: k}
	end := min(length, begin+time.Duration(random.ExpFloat64()*float64(k.life)))
	for at := begin; at < end; at += after(k.rate, random) {
		p.due = append(p.due, at)
	}
	return p
}

// after is the time to the next of so many a second.
func after(rate float64, random *rand.Rand) time.Duration {
	return time.Duration(random.ExpFloat64() / rate * float64(time.Second))
}
