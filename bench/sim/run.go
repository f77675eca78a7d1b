package sim

import (
	"context"
	"math/rand/v2"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/sockdist/sockdist/bench/load"
)

const none = -1 // no connection

// A connection of the simulation. Requests on it come one after the other.
type connection struct {
	service  int64 // ns of a request at speed 1
	since    int64 // when the request at hand was there to be served: its handshake was over, or its pause
	began    int64 // when the SYN came
	rtt, fin int64 // how long its handshake takes, and its close
	place    place
	use      uint32 // of the worker, for which it came
	random   uint32
	next     int32 // in its queue
	left     int32 // requests, with the one at hand
	measured bool
	opened   bool // its first handshake was over
}

// A worker serves one request at a time, first come first served.
type worker struct {
	queue
	speed   float64
	serving int32
	use     uint32 // changes when it dies
	absent  bool
	leaving bool
	coming  int // connections whose handshake goes on
	open    int // established connections
}

// A run is one contender in one scenario.
type run struct {
	Scenario
	chooser
	events
	service     func(*rand.Rand) float64
	arrivals    *rand.Rand // the same for all contenders
	disasters   *rand.Rand // the same for all
	chance      *rand.Rand // of what only some of them have
	connections []connection
	unused      []int32
	workers     []worker
	central     queue
	idle        idlers
	now         int64
	arrived     int
	alive       int // connections that have not ended
	result      Result
}

// A Result is what came of a run. Latencies are in mean service times, from when a
// request was there to be served (its handshake over) to its answer: what the
// network takes is in none of them. What came again after a crash counts from the
// first time.
type Result struct {
	Latency  *hdrhistogram.Histogram // in ticks, see Quantile
	Requests int64                   // measured
	Idle     float64                 // share of them that came to a busy worker while another one was idle
	Longest  int                     // queue of one worker, with the request that is served
	Picks    []int64                 // connections that each worker got
	Migrated int64                   // connections that went from the queue of a worker that died to another
	Lost     int64                   // … that were lost with it, and came again
	Refused  int64                   // … for which there was no worker
}

const (
	ticks       = 10_000 // a service time
	longestTime = 10_000_000 * ticks
	digits      = 3
)

// Quantile is the latency that a share q of the requests didn't exceed, 0 … 1.
func (r *Result) Quantile(q float64) float64 {
	return float64(r.Latency.ValueAtQuantile(100*q)) / ticks
}

// Mean is that of the latencies.
func (r *Result) Mean() float64 { return r.Latency.Mean() / ticks }

// warmUp is the part of the connections that come before any is measured.
const warmUp = 0.1

// Simulate runs one contender, of Contenders. With the same seed every contender
// gets the same connections at the same moments. Errors are about the scenario,
// ErrNoCompiler, or the context's.
func Simulate(ctx context.Context, s Scenario, contender string, seed uint64) (*Result, error) {
	s, err := s.complete()
	if err != nil {
		return nil, err
	}
	c, err := newChooser(contender, s.weights(), s.Reports != 0)
	if err != nil {
		return nil, err
	}
	r := &run{
		Scenario: s, chooser: c, service: load.Distribution(s.Service).Draw,
		arrivals:  rand.New(rand.NewPCG(seed, 1)),
		disasters: rand.New(rand.NewPCG(seed, 2)),
		chance:    rand.New(rand.NewPCG(seed, 3)),
		central:   emptyQueue(), idle: newIdlers(s.Workers),
		result: Result{Latency: hdrhistogram.New(1, longestTime, digits), Picks: make([]int64, s.Workers)},
	}
	for _, speed := range s.speeds() {
		r.workers = append(r.workers, worker{queue: emptyQueue(), speed: speed, serving: none})
	}
	if err := r.run(ctx); err != nil {
		return nil, err
	}
	r.conclude()
	return &r.result, nil
}

func (r *run) run(ctx context.Context) error {
	r.begin()
	pause := float64(r.Mean) / r.rate()
	arrival := pause * r.arrivals.ExpFloat64()
	for n := 0; r.arrived < r.Connections || r.alive > 0; n++ {
		if n&0xffff == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		at, some := r.next()
		if r.arrived < r.Connections && (!some || int64(arrival) <= at) {
			r.now = int64(arrival)
			r.arrive()
			arrival += pause * r.arrivals.ExpFloat64()
			continue
		}
		e := r.take()
		r.now = e.at
		r.happen(e)
	}
	return nil
}

// begin starts what happens by the clock.
func (r *run) begin() {
	if r.Reports > 0 {
		for w := range r.workers {
			r.at(r.nanos(r.Reports*r.chance.Float64()), reports, int32(w))
		}
	}
	if r.Every > 0 {
		r.at(r.nanos(r.Every), disturbance, 0)
	}
}

// at adds an event that many nanoseconds from now.
func (r *run) at(after int64, k kind, who int32) {
	r.add(event{at: r.now + after, kind: k, who: who})
}

func (r *run) happen(e event) {
	switch e.kind {
	case handshakeEnds:
		r.establish(e.who)
	case workEnds:
		r.finish(e.who, e.use)
	case requestComes:
		r.request(e.who)
	case closeEnds:
		r.end(e.who)
	case comesAgain:
		r.connect(e.who)
	case reports:
		r.report(e.who)
		if r.arrived < r.Connections || r.alive > 0 {
			r.at(r.nanos(r.Reports), reports, e.who)
		}
	case disturbance:
		r.disturb()
	case workerBack:
		r.replace(e.who)
	}
}

// arrive has a new client come.
func (r *run) arrive() {
	measured := r.arrived >= int(warmUp*float64(r.Connections))
	r.arrived++
	far := 1.0
	if r.Spread {
		far = r.arrivals.ExpFloat64()
	}
	r.connect(r.newConnection(connection{
		service: max(r.nanos(r.service(r.arrivals)), 1), random: r.arrivals.Uint32(),
		rtt: r.nanos(far * r.RTT), fin: r.nanos(far * r.Fin),
		left: int32(r.Requests), measured: measured,
	}))
}

func (r *run) newConnection(c connection) int32 {
	r.alive++
	if n := len(r.unused); n > 0 {
		i := r.unused[n-1]
		r.unused = r.unused[:n-1]
		r.connections[i] = c
		return i
	}
	r.connections = append(r.connections, c)
	return int32(len(r.connections) - 1)
}

func (r *run) forget(i int32) {
	r.alive--
	r.unused = append(r.unused, i)
}

// connect sends a SYN.
func (r *run) connect(i int32) {
	c := &r.connections[i]
	c.began = r.now
	c.place = r.pick(r.now, c.random)
	if c.place.slot == nowhere {
		r.result.Refused++
		r.forget(i)
		return
	}
	if w := r.workerOf(c); w != nil {
		c.use = w.use
		w.coming++
	}
	if c.rtt == 0 {
		r.establish(i)
		return
	}
	r.at(c.rtt, handshakeEnds, i)
}

// workerOf is nil for a connection that is everybody's.
func (r *run) workerOf(c *connection) *worker {
	if c.place.slot == central {
		return nil
	}
	return &r.workers[c.place.slot]
}

// establish ends a handshake: the connection is in its listener's queue, with its first request.
func (r *run) establish(i int32) {
	c := &r.connections[i]
	if w := r.workerOf(c); w != nil && w.use == c.use {
		w.coming--
	}
	c.place = r.opens(r.now, c.place, r.now-c.began, c.random)
	if !c.opened {
		c.opened, c.since = true, r.now
	}
	if c.place.slot == nowhere {
		r.lose(i)
		return
	}
	r.settle(i)
	r.enqueue(i)
}

// settle counts the connection where it is now.
func (r *run) settle(i int32) {
	c := &r.connections[i]
	if w := r.workerOf(c); w != nil {
		c.use = w.use
		w.open++
		r.result.Picks[c.place.slot]++
	}
}

// request has an idle connection ask again.
func (r *run) request(i int32) {
	c := &r.connections[i]
	c.since = r.now
	if w := r.workerOf(c); w != nil && w.use != c.use {
		r.lose(i)
		return
	}
	r.enqueue(i)
}

// enqueue brings a request to its worker, or to all.
func (r *run) enqueue(i int32) {
	c := &r.connections[i]
	w := r.workerOf(c)
	if w == nil {
		r.central.push(r.connections, i)
		if slot, ok := r.idle.take(); ok {
			r.serve(slot)
		}
		return
	}
	w.push(r.connections, i)
	if w.serving == none {
		r.idle.remove(c.place.slot)
		r.serve(c.place.slot)
	} else if c.measured && r.idle.count > 0 {
		r.result.Idle++
	}
	r.result.Longest = max(r.result.Longest, w.inFlight())
	r.changed(c.place.slot)
}

// inFlight is what a worker can know: requests that wait or are served.
func (w *worker) inFlight() int {
	if w.serving != none {
		return w.length + 1
	}
	return w.length
}

// serve has a worker that is free begin with the next request.
func (r *run) serve(slot int) {
	w := &r.workers[slot]
	i := w.pop(r.connections)
	if i == none && !w.leaving {
		i = r.central.pop(r.connections)
	}
	w.serving = i
	if i != none {
		took := max(int64(float64(r.connections[i].service)/w.speed), 1)
		r.add(event{at: r.now + took, kind: workEnds, who: int32(slot), use: w.use})
	} else if !w.leaving {
		r.idle.add(slot)
	}
}

// finish ends a request: it is answered, and the worker goes on.
func (r *run) finish(who int32, use uint32) {
	slot := int(who)
	w := &r.workers[slot]
	if w.use != use {
		return
	}
	i := w.serving
	c := &r.connections[i]
	if c.measured {
		// What takes longer than a histogram holds is an error of the scenario; its end is what counts then.
		_ = r.result.Latency.RecordValue(min(max((r.now-c.since)*ticks/int64(r.Mean), 1), longestTime))
	}
	c.left--
	switch {
	case c.left > 0:
		r.at(r.nanos(r.Think*r.chance.ExpFloat64()), requestComes, i)
	case c.fin == 0:
		r.end(i)
	default:
		r.at(c.fin, closeEnds, i)
	}
	r.serve(slot)
	r.changed(slot)
	r.departIfDone(slot)
}

// end is the kernel's close of a connection.
func (r *run) end(i int32) {
	c := &r.connections[i]
	if w := r.workerOf(c); w != nil {
		r.closes(c.place)
		if w.use == c.use {
			w.open--
			r.departIfDone(c.place.slot)
		}
	}
	r.forget(i)
}

// conclude turns what was counted into what is told.
func (r *run) conclude() {
	r.result.Requests = r.result.Latency.TotalCount()
	r.result.Idle /= float64(max(r.result.Requests, 1))
}
