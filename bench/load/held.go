package load

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A Visit is a connection that comes, is upgraded, and stays.
type Visit struct {
	At   time.Duration
	Stay time.Duration // it goes at At + Stay
}

// Held makes connections that are upgraded (GET /stream) and say nothing more:
// as WebSockets do, most of the time. It is an open loop: each visit comes when
// it is due, however many wait already. One that isn't let in tries again, 20
// ms later, until it is.
type Held struct {
	Server  netip.AddrPort
	Visits  []Visit       // in order of At
	Length  time.Duration // the run's end: all that are still there are closed
	Timeout time.Duration // of an attempt; 0: 30 s
	Start   time.Time     // zero: now
	Every   time.Duration // between two moments of the result; 0: none
	Return  bool          // a connection that the other side ends comes again, at once
	// Enough ends the run before its length, once all visits have come and none
	// waits to be served, and it returns true. It is asked every millisecond.
	Enough func(HeldTally) bool
}

// A HeldTally is what became of them, or has until now.
type HeldTally struct {
	Served  int         // visits that were let in, returns not counted
	Failed  int         // attempts that failed
	Err     error       // of the first
	Lost    int         // connections that the other side ended
	Waiting int         // visits that are to be served now
	Held    map[int]int // connections now, by process ID
	Moments []Moment
	Returns []Return
	Latency *hdrhistogram.Histogram // from when a visit was due to when it was let in, in µs
}

// A Moment is who held how many connections.
type Moment struct {
	At   time.Duration
	Held map[int]int // by process ID
}

// A Return is a connection that was lost, and served again.
type Return struct {
	Lost, Back time.Duration
	From, To   int // process IDs
}

// retry is how long a visit waits after a failure. Clients that reconnect do
// wait; how long isn't what is measured.
const retry = 20 * time.Millisecond

// tick is how often a held run looks at what no event tells.
const tick = time.Millisecond

// Run returns at the end of the length, or when the context ends, or at Enough.
func (h Held) Run(ctx context.Context) (t HeldTally) {
	onThread(func() { t = h.run(ctx) })
	return t
}

func (h Held) run(ctx context.Context) HeldTally {
	r := &holding{Held: h, visitors: make([]visitor, len(h.Visits)), HeldTally: HeldTally{Held: map[int]int{}, Latency: NewHistogram()}}
	if r.Timeout == 0 {
		r.Timeout = defaultTimeout
	}
	if r.Start.IsZero() {
		r.Start = time.Now()
	}
	var err error
	if r.client, err = newClient(h.Server); err != nil {
		r.Failed, r.Err = 1, err
		return r.HeldTally
	}
	r.schedule()
	for r.goesOn(ctx) {
		if err := r.turn(); err != nil {
			r.failed(err)
			break
		}
	}
	r.end()
	return r.HeldTally
}

// holding is one that runs.
type holding struct {
	Held
	HeldTally
	*client
	visitors []visitor
	leaves   []int32 // visits, in the order in which they go
	next     int     // the first visit that hasn't come
	gone     int     // of leaves
	again    []int32 // visits that wait to try again, in order
	asked    []attempt
	looked   time.Duration // when a moment was written down
	now      time.Duration
}

// An attempt is one that has a time limit. All have the same, so that they are
// in order; an attempt that is over stays until then.
type attempt struct {
	visit int32
	since time.Duration
}

// schedule puts the departures into order.
func (r *holding) schedule() {
	r.leaves = make([]int32, len(r.Visits))
	for i := range r.leaves {
		r.leaves[i] = int32(i)
		r.visitors[i].fd = -1
	}
	slices.SortFunc(r.leaves, func(a, b int32) int { return cmp.Compare(r.goes(a), r.goes(b)) })
}

func (r *holding) goes(visit int32) time.Duration { return r.Visits[visit].At + r.Visits[visit].Stay }

func (r *holding) goesOn(ctx context.Context) bool {
	r.now = time.Since(r.Start)
	if r.now >= r.Length || context.Cause(ctx) != nil {
		return false
	}
	return r.Held.Enough == nil || r.next < len(r.Visits) || r.Waiting > 0 || !r.Held.Enough(r.HeldTally)
}

// turn does what is due, and then what came.
func (r *holding) turn() error {
	r.leave()
	r.expire()
	r.retry()
	r.arrive()
	r.look()
	events, err := r.wait(r.pause())
	if err != nil {
		return err
	}
	r.now = time.Since(r.Start)
	for i := range events {
		r.ready(events[i].Fd)
	}
	return nil
}

// pause is a tick, or less when a visit is due before.
func (r *holding) pause() time.Duration {
	pause := tick
	if r.next < len(r.Visits) {
		pause = min(pause, r.Visits[r.next].At-time.Since(r.Start))
	}
	return pause
}

// arrive begins some of what is due: answers are looked after in between.
func (r *holding) arrive() {
	for range batch {
		if r.next == len(r.Visits) || r.Visits[r.next].At > r.now {
			return
		}
		r.Waiting++
		r.attempt(int32(r.next))
		r.next++
	}
}

// leave closes those whose time is over.
func (r *holding) leave() {
	for ; r.gone < len(r.leaves) && r.goes(r.leaves[r.gone]) <= r.now; r.gone++ {
		r.close(r.leaves[r.gone])
	}
}

// look writes a moment down when it is time.
func (r *holding) look() {
	if r.Every == 0 || r.now < r.looked+r.Every {
		return
	}
	r.looked = r.now
	m := Moment{At: r.now, Held: make(map[int]int, len(r.HeldTally.Held))}
	for pid, n := range r.HeldTally.Held {
		m.Held[pid] = n
	}
	r.Moments = append(r.Moments, m)
}

func (r *holding) failed(err error) {
	r.Failed++
	if r.Err == nil {
		r.Err = err
	}
}

// end closes all of them.
func (r *holding) end() {
	for i := range r.visitors {
		r.visitors[i].end()
	}
	r.client.close()
}
