package control

import (
	"slices"
	"testing"
	"time"

	"github.com/sockdist/sockdist/userspace/health"
)

// A world of workers, as a guard sees it, that goes by in steps.
type looks struct {
	t        *testing.T
	guard    *guard
	now      time.Duration
	readings []health.Reading
	traffic  map[int]Traffic
}

func newLooks(t *testing.T, workers int) *looks {
	l := &looks{t: t, now: time.Hour, traffic: make(map[int]Traffic), guard: &guard{
		check: health.NewCheck(slowestBeat), hearts: health.NewCheck(slowestBeat),
		beat: make(map[int]uint64), ejected: make(map[int]*ejection),
	}}
	for slot := range workers {
		l.readings = append(l.readings, health.Reading{Slot: slot})
	}
	return l
}

// pass lets time pass in which these slots' heartbeats rise. It returns what
// was found at any look.
func (l *looks) pass(d time.Duration, beating ...int) (found outlook) {
	for end := l.now + d; l.now < end; {
		l.now += l.guard.check.Interval()
		for _, slot := range beating {
			t := l.traffic[slot]
			t.Beat++
			l.traffic[slot] = t
		}
		o := l.guard.judge(l.now, l.readings, l.traffic)
		found.hung = append(found.hung, o.hung...)
		found.recovered = append(found.recovered, o.recovered...)
		found.failOpen = found.failOpen || o.failOpen
	}
	return found
}

func (l *looks) eject(slot int, still bool) {
	l.readings[slot].Ejected = true
	l.guard.ejected[slot] = &ejection{still: still}
}

func (o outlook) slots() (slots []int) {
	for _, h := range o.hung {
		if !slices.Contains(slots, h.Slot) {
			slots = append(slots, h.Slot)
		}
	}
	return slots
}

func TestHeartbeatStandsStill(t *testing.T) {
	l := newLooks(t, 4)
	if found := l.pass(5*time.Second, 0, 1); len(found.hung) > 0 || found.failOpen {
		t.Errorf("while hearts beat, and two workers have none: %+v", found)
	}
	found := l.pass(time.Second, 0)
	if !slices.Equal(found.slots(), []int{1}) || !found.hung[0].still || found.hung[0].Backlog != 0 || found.hung[0].For < slowestBeat {
		t.Errorf("one stands still: %+v", found)
	}
	l.eject(1, true)
	if found := l.pass(5*time.Second, 0); len(found.recovered) > 0 {
		t.Errorf("it stands still: %+v", found)
	}
	if found := l.pass(l.guard.check.Interval(), 0, 1); !slices.Equal(found.recovered, []int{1}) {
		t.Errorf("it beats again: %+v", found)
	}
}

// A worker that says it gets on, and leaves connections waiting, isn't readmitted
// for what it says.
func TestHeartbeatIsNoExcuse(t *testing.T) {
	l := newLooks(t, 3)
	l.pass(time.Second, 0)
	l.readings[0].Opened, l.readings[0].Backlog = 5, 5
	found := l.pass(time.Second, 0)
	if !slices.Equal(found.slots(), []int{0}) || found.hung[0].still || found.hung[0].Backlog != 5 {
		t.Fatalf("it accepts nothing: %+v", found)
	}
	l.eject(0, false)
	if found := l.pass(5*time.Second, 0); len(found.recovered) > 0 {
		t.Errorf("it accepts nothing, and is readmitted: %+v", found)
	}
	l.readings[0].Backlog = 4
	if found := l.pass(l.guard.check.Interval(), 0); !slices.Equal(found.recovered, []int{0}) {
		t.Errorf("it accepts again: %+v", found)
	}
}

// That most workers hang is counted over both signs, and all workers.
func TestMostHangByEitherSign(t *testing.T) {
	l := newLooks(t, 4)
	l.pass(time.Second, 0, 1)
	l.readings[2].Opened, l.readings[2].Backlog = 3, 3
	l.pass(l.guard.check.Interval(), 0, 1)
	if found := l.pass(time.Second); !found.failOpen || len(found.hung) > 0 {
		t.Errorf("two stand still and one accepts nothing: %+v", found)
	}
	l = newLooks(t, 4)
	l.pass(time.Second, 0, 1)
	l.eject(3, false)
	if found := l.pass(time.Second); !found.failOpen || len(found.hung) > 0 {
		t.Errorf("two stand still, and one is ejected: %+v", found)
	}
	l = newLooks(t, 4)
	l.pass(time.Second, 0, 1)
	if found := l.pass(time.Second); found.failOpen || !slices.Equal(found.slots(), []int{0, 1}) {
		t.Errorf("half stand still: %+v", found)
	}
}

// Another process in the slot counts from the beginning, and one that drains
// shows nothing: neither is a heart that stands still, nor one that beats again.
func TestHeartbeatBeginsAnew(t *testing.T) {
	l := newLooks(t, 3)
	l.pass(3*time.Second, 0)
	l.traffic[0] = Traffic{Beat: 1}
	if found := l.pass(slowestBeat/2, 0); len(found.hung) > 0 {
		t.Errorf("another process: %+v", found)
	}
	l.traffic[0] = Traffic{}
	if found := l.pass(5 * time.Second); len(found.hung) > 0 || len(found.recovered) > 0 {
		t.Errorf("no heartbeat any more: %+v", found)
	}
}
