package theory

import "math"

// A Queue is M/M/n: Poisson arrivals, exponential service times, some servers
// and one queue before all of them, first come first served.
type Queue struct {
	Servers int
	Rate    float64 // of arrivals
	Service float64 // mean
}

// At is the queue with that load, from 0 to below 1.
func At(servers int, load, service float64) Queue {
	return Queue{Servers: servers, Rate: load * float64(servers) / service, Service: service}
}

// Load is the share of time for which a server is busy.
func (q Queue) Load() float64 { return q.Rate * q.Service / float64(q.Servers) }

// Waits is the probability that an arrival has to wait (Erlang's C). It comes of
// Erlang's B by its recursion over the servers, which neither overflows nor
// cancels.
func (q Queue) Waits() float64 {
	offered, blocked := q.Rate*q.Service, 1.0
	for n := 1; n <= q.Servers; n++ {
		blocked = offered * blocked / (float64(n) + offered*blocked)
	}
	return blocked / (1 - q.Load()*(1-blocked))
}

// Mean is the mean response: waiting and service.
func (q Queue) Mean() float64 { return q.Waits()/q.drains() + q.Service }

// drains is the rate at which a queue gets shorter: what a wait lasts, if there
// is one, is exponential with it.
func (q Queue) drains() float64 { return float64(q.Servers)/q.Service - q.Rate }

// Exceeds is the probability of a response that is longer.
func (q Queue) Exceeds(response float64) float64 {
	waits, drain, serve := q.Waits(), q.drains(), 1/q.Service
	served := math.Exp(-serve * response)
	if math.Abs(drain-serve) < 1e-9*serve {
		return (1-waits)*served + waits*(1+serve*response)*served
	}
	both := (drain*served - serve*math.Exp(-drain*response)) / (drain - serve)
	return (1-waits)*served + waits*both
}

// Quantile is the response that a share of p doesn't exceed, for p from 0 to
// below 1.
func (q Queue) Quantile(p float64) float64 {
	low, high := 0.0, q.Service
	for q.Exceeds(high) > 1-p {
		low, high = high, 2*high
	}
	for range 100 {
		if middle := (low + high) / 2; q.Exceeds(middle) > 1-p {
			low = middle
		} else {
			high = middle
		}
	}
	return high
}
