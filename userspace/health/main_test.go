package health

import (
	"math/rand/v2"
	"testing"
	"time"
)

// worker is simulated: connections come to it and it accepts them, at times of
// its own.
type worker struct {
	opened, backlog uint64
	ejected         bool

	next   time.Duration                  // when it accepts next
	pace   func(*rand.Rand) time.Duration // from one accept to the next
	most   func(*rand.Rand) uint64        // how many it accepts at once
	stops  time.Duration                  // when it stops to accept, or 0
	comes  func(*rand.Rand) uint64        // how many connections come in a millisecond
	behind func(*rand.Rand) uint64        // how many come between the readings of Opened and Backlog
}

// tick lets a millisecond pass that ends now.
func (w *worker) tick(random *rand.Rand, now time.Duration) {
	if w.comes != nil && !w.ejected {
		n := w.comes(random)
		w.opened += n
		w.backlog += n
	}
	if now < w.next || (w.stops > 0 && now >= w.stops) {
		return
	}
	w.next = now + w.pace(random)
	w.backlog -= min(w.most(random), w.backlog)
}

func (w *worker) read(random *rand.Rand, slot int) Reading {
	r := Reading{Slot: slot, Opened: w.opened, Backlog: w.backlog, Ejected: w.ejected}
	if w.behind != nil && !w.ejected {
		n := w.behind(random)
		w.opened += n
		w.backlog += n
		r.Backlog = w.backlog
	}
	return r
}

// simulation runs workers and looks at them, with steps that jitter.
type simulation struct {
	t       *testing.T
	random  *rand.Rand
	check   *Check
	workers []*worker
	now     time.Duration
	due     time.Duration // the next look
	look    func(now time.Duration, v Verdict)
}

func simulate(t *testing.T, seed uint64, after time.Duration) *simulation {
	t.Helper()
	return &simulation{
		t: t, random: rand.New(rand.NewPCG(seed, 1)), check: NewCheck(after),
		now: time.Hour + time.Duration(seed)*time.Minute,
	}
}

// run lets time pass. Looks come up to a tenth of their interval late.
func (s *simulation) run(d time.Duration) {
	for end := s.now + d; s.now < end; s.now += time.Millisecond {
		for _, w := range s.workers {
			w.tick(s.random, s.now)
		}
		if s.now >= s.due {
			s.look(s.now, s.check.Look(s.now, s.readings()))
			interval := s.check.Interval()
			s.due = s.now + interval - interval/10 + time.Duration(s.random.Int64N(int64(interval/10)+1))
		}
	}
}

func (s *simulation) readings() []Reading {
	var readings []Reading
	for slot, w := range s.workers {
		readings = append(readings, w.read(s.random, slot))
	}
	return readings
}

func upTo(d time.Duration) func(*rand.Rand) time.Duration {
	return func(r *rand.Rand) time.Duration { return time.Duration(r.Int64N(int64(d))) + 1 }
}

func count(n uint64) func(*rand.Rand) uint64 { return func(*rand.Rand) uint64 { return n } }

// some is n in the mean of many calls, 0 most of the time when n < 1.
func some(n float64) func(*rand.Rand) uint64 {
	return func(r *rand.Rand) uint64 {
		whole := uint64(n)
		if r.Float64() < n-float64(whole) {
			whole++
		}
		return whole
	}
}
