package load

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"time"
)

// A Turn is a request that is due on one of several kept connections.
type Turn struct {
	Connection int
	Arrival
}

// Unequal are turns of n connections whose rates are as 1 : 1/2 : 1/3 …,
// perSecond together, at random moments until length.
func Unequal(r *rand.Rand, n int, perSecond float64, length time.Duration) (turns []Turn) {
	for i, rate := range Zipf(n, perSecond) {
		for _, a := range Poisson(r, rate, length, "", 0) {
			turns = append(turns, Turn{Connection: i, Arrival: a})
		}
	}
	slices.SortStableFunc(turns, func(a, b Turn) int { return cmp.Compare(a.At, b.At) })
	return turns
}

// Zipf are rates as 1 : 1/2 : 1/3 …, which make total.
func Zipf(n int, total float64) []float64 {
	rates, sum := make([]float64, n), 0.0
	for i := range rates {
		rates[i] = 1 / float64(i+1)
		sum += rates[i]
	}
	for i := range rates {
		rates[i] *= total / sum
	}
	return rates
}

// Ask makes requests when they are due, in order of time. One that is due on a
// connection with a request under way waits for it, and its latency counts from
// when it was due all the same.
func (k *Kept) Ask(ctx context.Context, turns []Turn) (outcomes []Outcome) {
	onThread(func() { outcomes = k.run(ctx, turns) })
	return outcomes
}

func (k *Kept) run(ctx context.Context, turns []Turn) []Outcome {
	r := &keptTurns{Kept: k, turns: turns, outcomes: make([]Outcome, len(turns)), begun: time.Now(), waiting: make([][]int, len(k.lanes))}
	for i, t := range turns {
		r.outcomes[i].At = t.At
	}
	for r.done < len(turns) {
		err := context.Cause(ctx)
		if err == nil {
			err = r.turn()
		}
		if err != nil {
			r.abandon(err)
		}
	}
	return r.outcomes
}

// keptTurns is an open loop over kept connections that runs.
type keptTurns struct {
	*Kept
	turns    []Turn
	outcomes []Outcome
	begun    time.Time
	looked   time.Duration
	next     int     // the first turn that wasn't due yet
	done     int     // how many are over
	waiting  [][]int // turns by connection: the first is under way
}

func (r *keptTurns) turn() error {
	for r.next < len(r.turns) && time.Since(r.begun) >= r.turns[r.next].At {
		r.due(r.next)
		r.next++
	}
	if now := time.Since(r.begun); now-r.looked > glance {
		r.looked = now
		r.expire(r.over)
	}
	return r.handle(r.pause(), r.over)
}

func (r *keptTurns) pause() time.Duration {
	switch {
	case r.done == len(r.turns):
		return 0
	case r.next == len(r.turns):
		return glance
	}
	return min(glance, r.turns[r.next].At-time.Since(r.begun))
}

func (r *keptTurns) due(turn int) {
	lane := r.turns[turn].Connection
	r.outcomes[turn].Late = time.Since(r.begun) - r.turns[turn].At
	r.waiting[lane] = append(r.waiting[lane], turn)
	if len(r.waiting[lane]) == 1 {
		r.begin(lane)
	}
}

// begin makes the request that waits first; one that can't even be begun is
// over, and the next has its turn.
func (r *keptTurns) begin(lane int) {
	for len(r.waiting[lane]) > 0 {
		turn := r.waiting[lane][0]
		err := r.ask(lane, r.turns[turn].Service)
		if err == nil {
			return
		}
		r.finish(lane, answer{}, err)
	}
}

func (r *keptTurns) over(lane int, a answer, err error) {
	r.finish(lane, a, err)
	r.begin(lane)
}

func (r *keptTurns) finish(lane int, a answer, err error) {
	o := &r.outcomes[r.waiting[lane][0]]
	o.Latency, o.PID, o.Err = time.Since(r.begun)-o.At, a.pid, err
	r.waiting[lane] = r.waiting[lane][1:]
	r.done++
}

// abandon fails all that isn't over.
func (r *keptTurns) abandon(err error) {
	for ; r.next < len(r.turns); r.next++ {
		r.outcomes[r.next].Err = err
		r.done++
	}
	for lane := range r.waiting {
		if r.lanes[lane].busy {
			r.lanes[lane].end()
			r.lanes[lane].busy = false
		}
		for len(r.waiting[lane]) > 0 {
			r.finish(lane, answer{}, err)
		}
	}
}
