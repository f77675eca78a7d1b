package load

import (
	"context"
	"net/netip"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Closed keeps so many requests under way for a while: the greatest rate that a
// server reaches. Its latencies say little, as it asks less of a server that is
// slow; that is what Open is for.
type Closed struct {
	Server      netip.AddrPort
	Concurrency int           // 0: 1
	Length      time.Duration // after it, what is under way is still waited for
	Service     time.Duration // of each request; see Arrival
	KeepAlive   bool          // connections are kept; otherwise each is for one request
	Timeout     time.Duration // of a request; 0: 30 s
}

// A Tally sums a closed loop up.
type Tally struct {
	Answered int
	Failed   int
	Err      error         // of the first that failed
	Took     time.Duration // from the begin to the last answer
	PIDs     map[int]int   // answers by process
	Latency  *hdrhistogram.Histogram
}

// Rate is how many were answered in a second.
func (t Tally) Rate() float64 {
	if t.Took == 0 {
		return 0
	}
	return float64(t.Answered) / t.Took.Seconds()
}

// Run returns after the length, or when the context ends.
func (c Closed) Run(ctx context.Context) (t Tally) {
	onThread(func() { t = c.run(ctx) })
	return t
}

func (c Closed) run(ctx context.Context) Tally {
	c.Concurrency = max(1, c.Concurrency)
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	r := &closing{Closed: c, Tally: Tally{PIDs: map[int]int{}, Latency: NewHistogram()}, lanes: make([]lane, c.Concurrency)}
	var err error
	if r.client, err = newClient(c.Server); err != nil {
		r.Failed, r.Err = 1, err
		return r.Tally
	}
	defer r.close()
	r.keep = c.KeepAlive
	r.begun = time.Now()
	r.loop(ctx)
	for i := range r.lanes {
		r.lanes[i].end()
	}
	return r.Tally
}

// A lane makes one request after the other.
type lane struct {
	exchange
	since time.Time
	busy  bool
}

// closing is a closed loop that runs.
type closing struct {
	Closed
	Tally
	*client
	lanes []lane
	begun time.Time
	looks time.Time // when the lanes were last looked at
}

func (r *closing) loop(ctx context.Context) {
	for i := range r.lanes {
		r.lanes[i].fd = -1
		r.start(i)
	}
	for r.busy() && context.Cause(ctx) == nil {
		events, err := r.wait(glance)
		if err != nil {
			r.failed(err)
			return
		}
		for i := range events {
			r.ready(int(events[i].Fd))
		}
		if time.Since(r.looks) > glance {
			r.look()
		}
	}
}

func (r *closing) busy() bool {
	for i := range r.lanes {
		if r.lanes[i].busy {
			return true
		}
	}
	return r.running()
}

func (r *closing) running() bool { return time.Since(r.begun) < r.Length }

// look ends requests that take too long, and has lanes that failed try again:
// not at once, or a server that isn't there would keep the client busy.
func (r *closing) look() {
	r.looks = time.Now()
	for i := range r.lanes {
		l := &r.lanes[i]
		if l.busy && time.Since(l.since) > r.Timeout {
			r.fail(i, ErrTimeout)
		}
		if !l.busy {
			r.start(i)
		}
	}
}

func (r *closing) start(i int) {
	if !r.running() {
		return
	}
	l := &r.lanes[i]
	l.busy, l.since = true, time.Now()
	var err error
	if l.fd >= 0 {
		err = r.again(&l.exchange, r.Service)
	} else {
		err = r.dial(&l.exchange, int32(i), r.Service)
	}
	if err != nil {
		r.fail(i, err)
	}
}

func (r *closing) ready(i int) {
	l := &r.lanes[i]
	if l.fd < 0 {
		return
	}
	if !l.busy { // a kept connection that the server closed
		l.end()
		return
	}
	a, whole, err := r.progress(&l.exchange)
	switch {
	case err != nil:
		r.fail(i, err)
	case whole:
		r.answered(i, a)
	}
}

func (r *closing) answered(i int, a answer) {
	l := &r.lanes[i]
	Record(r.Latency, time.Since(l.since))
	r.Answered++
	r.PIDs[a.pid]++
	r.Took = time.Since(r.begun)
	l.busy = false
	if !r.keep || a.closes {
		l.end()
	}
	r.start(i)
}

func (r *closing) fail(i int, err error) {
	r.lanes[i].end()
	r.lanes[i].busy = false
	r.failed(err)
}

func (r *closing) failed(err error) {
	r.Failed++
	if r.Err == nil {
		r.Err = err
	}
}
