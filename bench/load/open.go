package load

import (
	"context"
	"net/netip"
	"time"
)

// Open makes a connection for each arrival when it is due, however many wait
// already.
type Open struct {
	Server   netip.AddrPort
	Arrivals []Arrival     // in order of time
	Timeout  time.Duration // since a request was due; 0: 30 s
	Start    time.Time     // for several that start together; zero: now
}

const (
	defaultTimeout = 30 * time.Second
	// batch is how many connections are begun before answers are looked after.
	batch = 8
	// glance is how often a context is looked at.
	glance = 50 * time.Millisecond
)

// Run returns when all are answered or failed, in the order of the arrivals. If
// the context ends before, what isn't answered by then fails with its error.
func (o Open) Run(ctx context.Context) (outcomes []Outcome) {
	onThread(func() {
		goAhead()
		outcomes = o.run(ctx)
	})
	return outcomes
}

func (o Open) run(ctx context.Context) []Outcome {
	r := &opening{Open: o, outcomes: make([]Outcome, len(o.Arrivals)), exchanges: make([]exchange, len(o.Arrivals))}
	if r.Timeout == 0 {
		r.Timeout = defaultTimeout
	}
	if r.Start.IsZero() {
		r.Start = time.Now()
	}
	var err error
	if r.client, err = newClient(o.Server); err != nil {
		r.abandon(err)
		return r.outcomes
	}
	defer r.close()
	for r.oldest < len(r.Arrivals) {
		if err := context.Cause(ctx); err != nil {
			r.abandon(err)
			break
		}
		if err := r.turn(); err != nil {
			r.abandon(err)
		}
	}
	return r.outcomes
}

// opening is one that runs.
type opening struct {
	Open
	*client
	outcomes  []Outcome
	exchanges []exchange // by arrival, as the tokens are
	next      int        // the first that isn't begun
	oldest    int        // the first that isn't done
}

// turn begins what is due, waits for what comes next, and takes it.
func (r *opening) turn() error {
	r.begin()
	r.expire()
	events, err := r.wait(r.pause())
	if err != nil {
		return err
	}
	for i := range events {
		r.ready(int(events[i].Fd))
	}
	return nil
}

func (r *opening) begin() {
	for range batch {
		if r.next == len(r.Arrivals) || time.Since(r.Start) < r.Arrivals[r.next].At {
			return
		}
		i, a := r.next, r.Arrivals[r.next]
		r.next++
		r.outcomes[i] = Outcome{At: a.At, Late: time.Since(r.Start) - a.At}
		if err := r.dial(&r.exchanges[i], int32(i), a.Service); err != nil {
			r.finish(i, answer{}, err)
		}
	}
}

// expire ends those that are too old. All have as much time, so that they are
// in order.
func (r *opening) expire() {
	for ; r.oldest < r.next; r.oldest++ {
		if r.exchanges[r.oldest].fd < 0 {
			continue // done
		}
		if time.Since(r.Start) < r.Arrivals[r.oldest].At+r.Timeout {
			return
		}
		r.finish(r.oldest, answer{}, ErrTimeout)
	}
}

// pause is the time to whatever is next, as far as that is known.
func (r *opening) pause() time.Duration {
	next := time.Since(r.Start) + glance
	if r.next < len(r.Arrivals) {
		next = min(next, r.Arrivals[r.next].At)
	}
	if r.oldest < r.next {
		next = min(next, r.Arrivals[r.oldest].At+r.Timeout)
	}
	if r.oldest == len(r.Arrivals) {
		return 0
	}
	return next - time.Since(r.Start)
}

func (r *opening) ready(i int) {
	if r.exchanges[i].fd < 0 {
		return // it expired in this turn
	}
	if a, whole, err := r.progress(&r.exchanges[i]); whole || err != nil {
		r.finish(i, a, err)
	}
}

func (r *opening) finish(i int, a answer, err error) {
	o := &r.outcomes[i]
	o.Latency, o.PID, o.Err = time.Since(r.Start)-o.At, a.pid, err
	r.exchanges[i].end()
}

// abandon fails all that isn't done.
func (r *opening) abandon(err error) {
	for i := r.oldest; i < len(r.Arrivals); i++ {
		if i >= r.next {
			r.outcomes[i], r.exchanges[i].fd = Outcome{At: r.Arrivals[i].At}, -1
			r.outcomes[i].Err = err
		} else if r.exchanges[i].fd >= 0 {
			r.finish(i, answer{}, err)
		}
	}
	r.next, r.oldest = len(r.Arrivals), len(r.Arrivals)
}
