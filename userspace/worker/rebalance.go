package worker

import "time"

// window is how many looks at the rates are remembered.
const window = 4

// Rebalance says when a worker lets go of connections; see [WithRebalance]. A field that is 0
// has its default.
type Rebalance struct {
	// Factor is how many times the mean of all workers its own rate of requests
	// must be; 1.25.
	Factor float64
	// For is for how long; 3 s, and never less than a second.
	For time.Duration
	// PerSecond is how many connections it lets go of in a second at most; by default
	// one, and one more for every 20 that it has.
	PerSecond int
}

// WithRebalance has the worker let go of connections when they bring it clearly more than
// its share of requests.
func WithRebalance(r Rebalance) Option { return func(o *options) { o.rebalance = &r } }
