// Package rounds has one goroutine, with one timer, go round everything in a
// process that has to be looked at now and then. What an idle process costs is
// how often it wakes up, so a hundred groups must not have a hundred timers.
//
// Turns come at multiples of their period: whatever has the same one has its
// turn at the same moment, and a longer one that is a multiple of a shorter
// costs no moment of its own. So those who look at the same thing can also
// share what they see.
//
// A turn can be only a glance, which this one goroutine takes: see Change. It
// wakes the one who looks closer only if there is something to see.
package rounds

import (
	"time"
)

// A Post is something that is looked at on the rounds.
type Post struct {
	// C gets the moment of each turn. As with a time.Ticker, there is one for
	// who is late, and not several.
	C <-chan time.Time

	c      chan time.Time
	period time.Duration
	glance func() bool
	due    time.Duration
	guard  *watchman
}

// Every has a turn every so often, until Stop.
func Every(period time.Duration) *Post { return everybody.post(period, nil) }

// Change gives the post another period. With a glance there is a turn only if it
// says so; it must be quick, wait for nothing, and call nothing of this package:
// all others wait for it. nil is as for Every. Where nothing differs but the
// function, the next turn stays when it was.
func (p *Post) Change(period time.Duration, glance func() bool) { p.guard.change(p, period, glance) }

// Stop ends the turns. After it returned glance isn't called any more.
func (p *Post) Stop() { p.guard.leave(p) }
