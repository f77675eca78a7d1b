package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// An event is what is to be done, and when. All that is random in it was drawn
// from the seed.
type event struct {
	deed *deed
	at   time.Duration // since the begin of the round
	// which chooses among the workers that there are then.
	which uint64
	// share is 0 to 1, and stands for a length of time.
	share float64
}

// A deed is a kind of event.
type deed struct {
	name string
	// often is how often it comes, compared with the others of its lane.
	often int
	do    func(subject, event) error
}

// A lane is deeds of which one is done at a time.
type lane struct {
	deeds []deed
	// every is the mean time between two events.
	every time.Duration
}

// quietEdge is the time without events at both ends of a round.
const quietEdge = time.Second

// events are those of a round; number tells this lane and round from others.
func (l lane) events(seed, number uint64, length time.Duration) (events []event) {
	random := rand.New(rand.NewPCG(seed, number))
	sum := 0
	for _, d := range l.deeds {
		sum += d.often
	}
	at := quietEdge
	for {
		at += time.Duration(random.ExpFloat64() * float64(l.every))
		e := event{deed: l.draw(random.IntN(sum)), at: at, which: random.Uint64(), share: random.Float64()}
		if at > length-quietEdge {
			return events
		}
		events = append(events, e)
	}
}

func (l lane) draw(n int) *deed {
	for i := range l.deeds {
		if n -= l.deeds[i].often; n < 0 {
			return &l.deeds[i]
		}
	}
	panic("the deeds are as often as their sum says")
}

// between is a length of time that the event stands for.
func (e event) between(least, most time.Duration) time.Duration {
	return least + time.Duration(e.share*float64(most-least))
}

// pick chooses one of n.
func (e event) pick(n int) int { return int(e.which % uint64(n)) }

// laneNumber is one that no other lane of a run has.
func laneNumber(app, round, lane int) uint64 {
	return uint64(app)<<40 | uint64(round)<<8 | uint64(lane)
}

// showPlan prints the events of as many rounds as there is time for.
func (o options) showPlan(w io.Writer) {
	fmt.Fprintln(w, "seed", o.seed)
	for round := range int(max(1, o.duration/o.round)) {
		for number := range o.apps + 1 {
			lanes := appLanes
			if number == o.apps {
				lanes = besideLanes
			}
			for i, l := range lanes {
				for _, e := range l.events(o.seed, laneNumber(number, round, i), o.round) {
					fmt.Fprintf(w, "round %d  app %d  lane %d  %7.3f s  %s\n", round+1, number, i, e.at.Seconds(), e.deed.name)
				}
			}
		}
	}
}
