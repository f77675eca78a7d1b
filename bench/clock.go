package main

import (
	"fmt"
	"time"
)

// A clock tells how much is left of a run, by how the estimates of its parts
// have held so far.
type clock struct {
	began    time.Time
	expected time.Duration
	done     time.Duration // of what was expected
}

func newClock(expected time.Duration) *clock { return &clock{began: time.Now(), expected: expected} }

// did notes that a part is done that was to take d.
func (c *clock) did(d time.Duration) { c.done += d }

// left is the time that is left, as 12:34. Until a twentieth is done, the estimate is taken as it is.
func (c *clock) left() string {
	left := c.expected - c.done
	if c.done > c.expected/20 {
		left = time.Duration(float64(left) * float64(time.Since(c.began)) / float64(c.done))
	}
	return fmt.Sprintf("%d:%02d", int(left.Minutes()), int(left.Seconds())%60)
}
