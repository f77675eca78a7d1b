package scaling

import (
	"fmt"
	"math"
	"time"
)

// What the decisions wait for.
const (
	// Interval is how often Look should be called. After a gap of five, the
	// observation begins again.
	Interval = time.Second

	// UpAfter is how long the load must have been above the target.
	UpAfter = 5 * time.Second

	// DownAfter is how long the load must have been low enough for one worker
	// fewer. It doubles, up to MostDownAfter, with each step up that comes within
	// Undone of a step down, and is itself again when a step down has lasted that
	// long.
	DownAfter     = 30 * time.Second
	MostDownAfter = 10 * time.Minute
	Undone        = 10 * time.Minute

	// Low is how much of the target the load may reach with one worker fewer.
	Low = 0.7

	// Pause is how long no step follows on another, other than by the bounds.
	Pause = 10 * time.Second
)

// Sample is the load at one moment.
type Sample struct {
	// Workers is how many there are to be: those that run or start, without
	// those that retire.
	Workers     int
	Connections float64 // of all workers
	CPU         float64 // CPUs that all workers use, 1.5 is one and a half
}

// Decision is a step.
type Decision struct {
	Workers int    // how many there should be now, never as many as in the sample
	Why     string // a clause such as "226 connections a worker for 5 s, more than 200"
}

// Scaler decides for one app. It is for one goroutine.
type Scaler struct {
	target   Target
	min, max int

	workers int           // in the last sample
	looked  bool          // there was one
	last    time.Duration // when
	high    spell
	low     spell

	step      Decision      // the last
	stepped   bool          // there was one
	stepAt    time.Duration // when
	lastDown  time.Duration // when the last step down was
	wentDown  bool          // there was one, and it can still be undone
	downAfter time.Duration
}

// spell is a time in which the load was above a mark, or below one.
type spell struct {
	on    bool
	since time.Duration
	sum   float64 // of what was needed
	looks int
}

// New returns a Scaler that stays between min and max workers. It panics unless
// the target has a number above 0 and 1 ≤ min ≤ max.
func New(t Target, min, max int) *Scaler {
	if min < 1 || max < min || !(t.Connections > 0 || t.CPU > 0) {
		panic(fmt.Sprintf("scaling: target %s from %d to %d workers", t, min, max))
	}
	return &Scaler{target: t, min: min, max: max, downAfter: DownAfter}
}

// Look takes the load at a time of CLOCK_MONOTONIC, and returns a step when it
// is time for one. It repeats none while a sample still has the old number, until
// Pause is over.
func (s *Scaler) Look(now time.Duration, sample Sample) (Decision, bool) {
	s.observe(now, sample)
	if d, beyond := s.bound(sample.Workers); beyond {
		if s.pausing(now) && d.Workers == s.step.Workers {
			return Decision{}, false
		}
		return s.decide(now, sample.Workers, d), true
	}
	if s.pausing(now) {
		s.high, s.low = spell{}, spell{}
		return Decision{}, false
	}

	need := s.target.of(sample)
	s.high.look(now, need.workers, need.workers > float64(sample.Workers))
	s.low.look(now, need.workers, need.workers <= Low*float64(sample.Workers-1))

	switch {
	case s.high.lasted(now) >= UpAfter && sample.Workers < s.max:
		return s.decide(now, sample.Workers, s.up(now, sample.Workers, need.measure)), true
	case s.low.lasted(now) >= s.downAfter && sample.Workers > s.min:
		return s.decide(now, sample.Workers, s.down(now, sample.Workers, need.measure)), true
	}
	return Decision{}, false
}

// observe begins the observation again when it has a hole, or when somebody
// changed the number of workers.
func (s *Scaler) observe(now time.Duration, sample Sample) {
	if gap := now - s.last; !s.looked || gap < 0 || gap > 5*Interval || sample.Workers != s.workers {
		s.high, s.low = spell{}, spell{}
	}
	s.looked, s.last, s.workers = true, now, sample.Workers
	if s.wentDown && now-s.lastDown > Undone {
		s.wentDown, s.downAfter = false, DownAfter
	}
}

func (s *Scaler) pausing(now time.Duration) bool {
	return s.stepped && now >= s.stepAt && now-s.stepAt < Pause
}

// bound tells that there are too few or too many workers, whatever the load is.
func (s *Scaler) bound(workers int) (d Decision, beyond bool) {
	switch {
	case workers < s.min:
		return Decision{s.min, fmt.Sprintf("%d of the minimum of %d", workers, s.min)}, true
	case workers > s.max:
		return Decision{s.max, fmt.Sprintf("%d, more than the maximum of %d", workers, s.max)}, true
	}
	return Decision{}, false
}

func (s *Scaler) up(now time.Duration, workers int, m measure) Decision {
	most := min(s.max, 2*workers)
	// As a float, since the load may be any number.
	wanted := int(min(math.Ceil(s.high.mean()), float64(most)))
	why := fmt.Sprintf("%s a worker for %s, more than %s",
		m.each(s.high.mean(), float64(workers)), seconds(s.high.lasted(now)), m.limit())
	return Decision{max(wanted, workers+1), why}
}

func (s *Scaler) down(now time.Duration, workers int, m measure) Decision {
	why := fmt.Sprintf("%s a worker for %s, and with one fewer no more than %.0f %% of %s",
		m.each(s.low.mean(), float64(workers)), seconds(s.low.lasted(now)), 100*Low, m.limit())
	return Decision{workers - 1, why}
}

func (s *Scaler) decide(now time.Duration, workers int, d Decision) Decision {
	if d.Workers < workers {
		s.lastDown, s.wentDown = now, true
	} else if s.wentDown {
		s.downAfter, s.wentDown = min(2*s.downAfter, MostDownAfter), false
	}
	s.step, s.stepped, s.stepAt = d, true, now
	s.high, s.low = spell{}, spell{}
	return d
}

// look takes what is needed now, and whether that is beyond the mark.
func (s *spell) look(now time.Duration, need float64, beyond bool) {
	if !beyond {
		*s = spell{}
		return
	}
	if !s.on {
		*s = spell{on: true, since: now}
	}
	s.sum += need
	s.looks++
}

func (s *spell) lasted(now time.Duration) time.Duration {
	if !s.on {
		return -1
	}
	return now - s.since
}

func (s *spell) mean() float64 { return s.sum / float64(s.looks) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.0f s", d.Seconds()) }
