package worker

import (
	"cmp"
	"math"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// window is how many looks at the rates are remembered: one a second.
	window = 4
	// every is how often the rates are looked at.
	every = time.Second
	// settled is how old a connection must be to be let go: its rate is known then.
	settled = (window - 1) * every
	// awayFor is how long a connection that was let go keeps its weight in the load.
	awayFor = 5 * time.Second
	// clearly: so many standard deviations of a count must a surplus be.
	clearly = 4
	// better is how busy, compared with this worker now, the other one may be after it
	// got a connection that is more than the surplus.
	better = 0.9
)

// Rebalance says when a worker lets go of connections; see [WithRebalance]. A field
// that is 0 has its default.
type Rebalance struct {
	// Factor is how many times the mean of all workers its own rate of requests
	// must be; 1.25, and above 1.
	Factor float64
	// For is for how long; 3 s.
	For time.Duration
	// PerSecond is how many connections it lets go of in a second at most; by default
	// one, and one more for every 20 that it has.
	PerSecond int
}

// WithRebalance has the worker let go of connections that bring it more than its share
// of requests. A balance of connections can't help when a few of them, which live long,
// carry most requests.
//
// Each second the worker compares its rate of finished requests, of the last three
// seconds, with that of all live workers of its group, which it reads from their loads.
// If it is more than Factor times their mean for the time For, and by more than chance
// explains (four standard deviations), it lets go of the connections that carry the
// surplus: the largest first that fit in it, but none with less than a fiftieth of it,
// and none younger than three seconds. One that is more than the surplus is kept, for
// moving that would only move the problem: unless nothing else fits, and the worker
// with the lowest rate would, with it, still have a tenth less than this one has now.
// It stops half-way between the mean and Factor. See [Conn.Leaving] for how a
// connection is let go. Under [Handler] all that works by itself.
//
// So that they don't come back, the load is raised by as many as were let go in the
// last five seconds; and as long as its rate is above the mean, by as many connections
// more as that excess is worth. That takes the policy least or p2c.
//
// Rates are of requests, whatever they cost, and all workers count alike,
// whatever their weight. All workers of the group should rebalance, or at least publish
// their requests, which every worker of this library does.
func WithRebalance(r Rebalance) Option {
	if r.Factor <= 1 {
		r.Factor = 1.25
	}
	if r.For <= 0 {
		r.For = 3 * time.Second
	}
	return func(o *options) { o.rebalance = &r }
}

// balancer watches the rates of the group, and lets go.
type balancer struct {
	l     *Listener
	r     *Rebalance // nil: it doesn't
	looks int        // so far
	rows  [window]row
	next  time.Time
	above time.Time // since when; zero: it isn't
	gone  []gone
}

// row is one look at everybody.
type row struct {
	at             time.Time
	lines          *lines
	beat, requests [slots]uint64
}

// gone is a connection that was let go.
type gone struct {
	conn *Conn
	at   time.Time
}

func newBalancer(l *Listener) *balancer {
	return &balancer{l: l, r: l.o.rebalance}
}

// look is called at each pulse.
func (b *balancer) look(now time.Time) {
	if b.r == nil || now.Before(b.next) {
		return
	}
	b.next = now.Add(every)
	b.remember(now)
	conns := b.conns(now)
	r, ok := b.rates()
	if !ok {
		return
	}
	for _, g := range b.gone {
		r.own -= b.rate(g.conn) // as if they had left already
	}
	b.decide(now, r, conns)
	b.weigh(r, len(conns))
}

// remember reads all lines.
func (b *balancer) remember(now time.Time) {
	p := b.l.place.Load()
	r := &b.rows[b.looks%window]
	r.at, r.lines = now, p.lines
	for i := range r.beat {
		r.beat[i] = atomic.LoadUint64(&p.lines[i].beat)
		r.requests[i] = atomic.LoadUint64(&p.lines[i].requests)
	}
	b.looks++
}

// conns notes what each connection has finished, and returns those that stay. What was
// let go long ago is forgotten.
func (b *balancer) conns(now time.Time) (stay []*Conn) {
	b.gone = slices.DeleteFunc(b.gone, func(g gone) bool { return now.Sub(g.at) > awayFor })
	for _, c := range b.l.openConns() {
		if !c.release.Load() {
			stay = append(stay, c)
		}
	}
	at := (b.looks - 1) % window
	for _, c := range stay {
		c.seen[at] = c.finished.Load()
	}
	for _, g := range b.gone {
		g.conn.seen[at] = g.conn.finished.Load()
	}
	return stay
}

// back returns the look that was n before the last one.
func (b *balancer) back(n int) *row { return &b.rows[(b.looks-1-n+window)%window] }

// rates are requests a second: of this worker, of all live ones in the mean, and of the
// one that has the fewest.
type rates struct{ own, mean, least float64 }

// rates is false while there is too little to tell.
func (b *balancer) rates() (r rates, ok bool) {
	p := b.l.place.Load()
	sum, workers := 0.0, 0
	r.least = math.Inf(1)
	for slot := range slots {
		rate, live := b.rateOf(slot)
		if !live {
			continue
		}
		sum, workers = sum+rate, workers+1
		r.least = min(r.least, rate)
		if slot == p.slot {
			r.own, ok = rate, true
		}
	}
	r.mean = sum / float64(max(workers, 1))
	return r, ok && workers > 1 && b.looks >= window
}

// rateOf is the rate of a slot, over as many looks as it was one worker's.
func (b *balancer) rateOf(slot int) (rate float64, live bool) {
	requests, since := uint64(0), time.Duration(0)
	for n := range min(b.looks, window) - 1 {
		now, before := b.back(n), b.back(n+1)
		beats := now.beat[slot] - before.beat[slot]
		finished := now.requests[slot] - before.requests[slot]
		if now.lines != before.lines || before.beat[slot] == 0 || beats == 0 || beats > math.MaxInt32 || finished > math.MaxInt64 {
			break // it stood still, or somebody else came, or it isn't there yet
		}
		requests, since = requests+finished, since+now.at.Sub(before.at)
	}
	if since == 0 {
		return 0, false
	}
	return float64(requests) / since.Seconds(), true
}

// rate is that of one connection.
func (b *balancer) rate(c *Conn) float64 {
	newest := (b.looks - 1) % window
	oldest := b.looks % window
	span := b.back(0).at.Sub(b.back(window - 1).at).Seconds()
	return float64(c.seen[newest]-c.seen[oldest]) / span
}

// decide lets go of connections if it is time.
func (b *balancer) decide(now time.Time, r rates, conns []*Conn) {
	span := b.back(0).at.Sub(b.back(window - 1).at).Seconds()
	isClear := (r.own-r.mean)*span > clearly*math.Sqrt(r.own*span)
	limit := b.r.Factor
	if !b.above.IsZero() && now.Sub(b.above) >= b.r.For {
		limit = 1 + (limit-1)/2 // it has begun: until here it goes on
	}
	if !isClear || r.own <= limit*r.mean {
		b.above = time.Time{}
		return
	}
	if b.above.IsZero() {
		b.above = now
	}
	if now.Sub(b.above) >= b.r.For && !b.l.draining.Load() {
		b.letGo(now, r, conns)
	}
}

// letGo chooses what fits the surplus.
func (b *balancer) letGo(now time.Time, r rates, conns []*Conn) {
	budget := b.r.PerSecond
	if budget <= 0 {
		budget = 1 + len(conns)/20
	}
	conns = slices.DeleteFunc(conns, func(c *Conn) bool { return now.Sub(c.born) < settled })
	slices.SortFunc(conns, func(x, y *Conn) int { return cmp.Compare(b.rate(y), b.rate(x)) })
	surplus := r.own - r.mean
	left := surplus
	for _, c := range conns {
		rate := b.rate(c)
		if budget == 0 || rate < surplus/50 {
			break
		}
		if rate <= left {
			b.release(c, now)
			left, budget = left-rate, budget-1
		}
	}
	if left < surplus || len(b.gone) > 0 {
		return
	}
	// Nothing fits, but one may still suit the worker that has the least to do, and
	// nothing else is under way.
	for _, c := range slices.Backward(conns) {
		if rate := b.rate(c); rate > surplus {
			if r.least+rate < better*r.own {
				b.release(c, now)
			}
			return
		}
	}
}

func (b *balancer) release(c *Conn, now time.Time) {
	c.letGo()
	b.gone = append(b.gone, gone{c, now})
}

// weigh keeps others' connections away, as far as the kernel looks at the load.
func (b *balancer) weigh(r rates, conns int) {
	excess := 0.0
	if r.mean > 0 {
		excess = min(max(r.own/r.mean-1, 0), 1) * float64(conns)
	}
	b.l.load.adjust(ofRebalance, int64(math.Round(excess))+int64(len(b.gone)))
}
