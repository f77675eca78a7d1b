package health

import (
	"fmt"
	"time"
)

// Reading is what is known of a slot at one moment.
type Reading struct {
	Slot int
	// Opened is how many connections were ever established at the slot, less
	// those that migrated away. It falls when some migrate, and starts anew with
	// another worker.
	Opened uint64
	// Backlog is how many of them wait to be accepted.
	Backlog uint64
	// Ejected tells that the slot is held back as hung at present.
	Ejected bool
}

// Finding is a slot that looks hung.
type Finding struct {
	Slot    int
	Backlog uint64        // connections that wait now, 1 or more
	For     time.Duration // since when connections wait and none was accepted
}

// Verdict is what one look has shown. Slots are in the order of the readings.
type Verdict struct {
	// Hung are the slots to be ejected now.
	Hung []Finding
	// Recovered are ejected slots that accepted a connection since the last
	// look.
	Recovered []int
	// FailOpen tells that more than half of the slots look hung, those ejected
	// before included. Then something else is wrong, and without them the rest
	// would have to bear all: Hung is empty, and Suspects says which slots would
	// have been in it. Slots ejected before stay so.
	FailOpen bool
	Suspects []Finding
}

// Check watches the slots of one group. It is for one goroutine.
type Check struct {
	after   time.Duration
	slots   map[int]*watch
	looked  bool
	lastNow time.Duration
}

// NewCheck returns a check that calls a slot hung when it had a backlog and
// accepted nothing for this long, at every look. It panics unless after > 0.
func NewCheck(after time.Duration) *Check {
	if after <= 0 {
		panic(fmt.Sprintf("health: a check after %s", after))
	}
	return &Check{after: after, slots: make(map[int]*watch)}
}

const (
	looks        = 5 // in the time after which a slot is hung
	minInterval  = 10 * time.Millisecond
	maxInterval  = time.Second
	startOverAt  = 3 // intervals between two looks
	mostCredited = 3 // half intervals that a step between two looks counts
)

// Interval returns how often Look should be called: a fifth of the time after
// which a slot is hung, from 10 ms to 1 s. So a worker that stops is found
// between that time and two intervals more, counted from the first connection
// that waits.
func (c *Check) Interval() time.Duration {
	return min(max(c.after/looks, minInterval), maxInterval)
}

// GlanceInterval returns how often it should be looked whether a slot can have a
// backlog by now, while none has and Look isn't called. A worker that stops is
// found two intervals later than Interval says, at most.
func (c *Check) GlanceInterval() time.Duration { return 2 * c.Interval() }

// Look takes the readings of one moment, one a slot, at a time of
// CLOCK_MONOTONIC.
func (c *Check) Look(now time.Duration, readings []Reading) Verdict {
	step, again := c.step(now)

	var verdict Verdict
	var suspects []Finding
	ejected := 0
	watched := make(map[int]*watch, len(readings))
	for _, r := range readings {
		w := c.slots[r.Slot]
		if w == nil {
			w = newWatch(r, now)
		} else {
			w.look(r, now, step)
		}
		if again {
			w.wait(r, now)
		}
		watched[r.Slot] = w

		switch {
		case r.Ejected && w.progressed:
			verdict.Recovered = append(verdict.Recovered, r.Slot)
		case r.Ejected:
			ejected++
		case w.waited >= c.after:
			suspects = append(suspects, Finding{Slot: r.Slot, Backlog: r.Backlog, For: now - w.since})
		}
	}
	c.slots = watched

	if len(suspects) > 0 && 2*(len(suspects)+ejected) > len(readings) {
		verdict.FailOpen, verdict.Suspects = true, suspects
	} else {
		verdict.Hung = suspects
	}
	return verdict
}

// step returns how much of the time since the last look counts, or that the
// waiting of all slots begins again.
func (c *Check) step(now time.Duration) (step time.Duration, again bool) {
	gap, first := now-c.lastNow, !c.looked
	c.lastNow, c.looked = now, true
	if first || gap < 0 || gap > startOverAt*c.Interval() {
		return 0, true
	}
	return min(gap, mostCredited*c.Interval()/2), false
}
