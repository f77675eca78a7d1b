package health

import (
	"reflect"
	"slices"
	"testing"
	"time"
)

var durations = []time.Duration{50 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, 3 * time.Second}

// TestNeverEjectsOneThatAccepts has workers that fall ever more behind, and
// accept one connection within each half of the time.
func TestNeverEjectsOneThatAccepts(t *testing.T) {
	for seed := range uint64(60) {
		after := durations[seed%4]
		s := simulate(t, seed, after)
		for range 1 + s.random.IntN(8) {
			w := &worker{pace: upTo(after / 2), most: count(1), comes: some(s.random.Float64() * 0.3)}
			if seed%3 == 0 {
				w.behind = some(0.05)
			}
			s.workers = append(s.workers, w)
		}
		s.look = func(now time.Duration, v Verdict) {
			if len(v.Hung)+len(v.Suspects)+len(v.Recovered) > 0 || v.FailOpen {
				t.Fatalf("seed %d, after %s: %+v", seed, after, v)
			}
		}
		s.run(20 * after)
	}
}

// TestAlwaysEjectsOneThatStops has connections that keep coming.
func TestAlwaysEjectsOneThatStops(t *testing.T) {
	for seed := range uint64(60) {
		after := durations[seed%4]
		s := simulate(t, seed, after)
		for range 3 + s.random.IntN(6) {
			w := &worker{pace: upTo(after / 3), most: count(100), comes: some(0.1 + s.random.Float64())}
			if seed%3 == 0 {
				w.behind = some(0.02)
			}
			s.workers = append(s.workers, w)
		}
		stopped := s.random.IntN(len(s.workers))
		hangs := s.now + upTo(3*after)(s.random)
		s.workers[stopped].stops = hangs

		var waits, found time.Duration
		s.look = func(now time.Duration, v Verdict) {
			if waits == 0 && now >= hangs && s.workers[stopped].backlog > 0 {
				waits = now
			}
			for _, f := range v.Hung {
				if f.Slot != stopped || f.Backlog == 0 || f.For < after {
					t.Fatalf("seed %d: found %+v, slot %d stopped", seed, f, stopped)
				}
				found = now
				s.workers[stopped].ejected = true
			}
			if v.FailOpen || len(v.Recovered) > 0 {
				t.Fatalf("seed %d: %+v", seed, v)
			}
		}
		s.run(8 * after)
		// The readings that lag can be what hides the last accept for a look.
		if late := found - waits; found == 0 || late > after+2*s.check.Interval() {
			t.Errorf("seed %d, after %s: found after %s, want no later than %s", seed, after, late, after+2*s.check.Interval())
		}
	}
}

func TestComesBack(t *testing.T) {
	c := NewCheck(500 * time.Millisecond)
	now, slot := time.Minute, Reading{Slot: 7, Opened: 120, Backlog: 20}
	other := Reading{Slot: 2, Opened: 50}
	next := func() Verdict { now += c.Interval(); return c.Look(now, []Reading{other, slot}) }

	var v Verdict
	for range 7 {
		if v = next(); len(v.Hung) > 0 {
			break
		}
	}
	if want := (Verdict{Hung: []Finding{{Slot: 7, Backlog: 20, For: 500 * time.Millisecond}}}); !reflect.DeepEqual(v, want) {
		t.Fatalf("verdict %+v, want %+v", v, want)
	}
	// Its queue migrates, and the canary waits.
	slot.Ejected, slot.Opened, slot.Backlog = true, 101, 1
	for range 20 {
		if v := next(); !reflect.DeepEqual(v, Verdict{}) {
			t.Fatalf("of an ejected slot: %+v", v)
		}
	}
	slot.Backlog = 0
	if v := next(); !slices.Equal(v.Recovered, []int{7}) {
		t.Fatalf("of one that recovers: %+v", v)
	}
	slot.Ejected = false
	for range 20 {
		if v := next(); !reflect.DeepEqual(v, Verdict{}) {
			t.Fatalf("of one that recovered: %+v", v)
		}
	}
}

// TestComesBackAtOnce accepts before the check sees that it was ejected, and
// while this process didn't run.
func TestComesBackAtOnce(t *testing.T) {
	for _, gap := range []time.Duration{100 * time.Millisecond, time.Hour} {
		c := NewCheck(500 * time.Millisecond)
		slot, other := Reading{Opened: 10, Backlog: 5}, Reading{Slot: 1}
		now := time.Duration(0)
		for len(c.Look(now, []Reading{slot, other}).Hung) == 0 {
			now += c.Interval()
		}
		slot.Ejected, slot.Backlog = true, 4
		if v := c.Look(now+gap, []Reading{slot, other}); !slices.Equal(v.Recovered, []int{0}) {
			t.Errorf("after %s: %+v", gap, v)
		}
	}
}

func TestFailOpen(t *testing.T) {
	for _, c := range []struct {
		ejected, hanging, healthy int
		failOpen                  bool
	}{
		{0, 1, 0, true}, {0, 1, 1, false}, {0, 2, 1, true}, {0, 2, 2, false}, {0, 5, 3, true}, {0, 4, 4, false},
		{1, 1, 1, true}, {1, 1, 2, false}, {3, 1, 4, false}, {3, 2, 3, true}, {1, 0, 0, false}, {3, 0, 1, false},
	} {
		check := NewCheck(100 * time.Millisecond)
		var readings []Reading
		add := func(n int, r Reading) {
			for range n {
				r.Slot = len(readings)
				readings = append(readings, r)
			}
		}
		add(c.ejected, Reading{Opened: 9, Backlog: 1, Ejected: true})
		add(c.hanging, Reading{Opened: 9, Backlog: 3})
		add(c.healthy, Reading{Opened: 9})

		var v Verdict
		for step := range time.Duration(10) {
			v = check.Look(step*check.Interval(), readings)
		}
		hung, suspects := c.hanging, 0
		if c.failOpen {
			hung, suspects = 0, c.hanging
		}
		if v.FailOpen != c.failOpen || len(v.Hung) != hung || len(v.Suspects) != suspects {
			t.Errorf("%+v: %+v", c, v)
		}
	}
}

// look is one look at one slot among others that are idle, so that it can be
// called hung.
type look struct {
	gap             time.Duration // since the last, in intervals
	opened, backlog uint64
}

func TestNoFalseAlarm(t *testing.T) {
	steady := func(n int, l look) (looks []look) { return slices.Repeat([]look{l}, n) }
	for name, looks := range map[string][]look{
		"idle":                            steady(20, look{1, 5, 0}),
		"never used":                      steady(20, look{1, 0, 0}),
		"this process stood still":        slices.Concat(steady(4, look{1, 9, 3}), steady(1, look{100, 9, 3}), steady(4, look{1, 9, 3})),
		"this process is starved":         steady(20, look{4, 9, 3}),
		"a pause just before it was due":  {{1, 9, 3}, {1, 9, 3}, {1, 9, 3}, {1, 9, 3}, {3, 9, 3}, {1, 9, 2}},
		"the clock falls":                 {{1, 9, 3}, {1, 9, 3}, {1, 9, 3}, {1, 9, 3}, {1, 9, 3}, {-50, 9, 3}, {1, 9, 3}},
		"another worker":                  slices.Concat(steady(5, look{1, 90, 3}), steady(5, look{1, 3, 3})),
		"another worker that accepted":    slices.Concat(steady(5, look{1, 90, 3}), steady(5, look{1, 30, 3})),
		"another worker with more":        slices.Concat(steady(5, look{1, 90, 3}), steady(5, look{1, 300, 3})),
		"its queue migrated":              slices.Concat(steady(5, look{1, 90, 30}), steady(9, look{1, 60, 0})),
		"empty in between":                slices.Concat(steady(5, look{1, 9, 3}), steady(1, look{1, 6, 0}), steady(5, look{1, 9, 3})),
		"aborted ones are discarded":      slices.Concat(steady(5, look{1, 9, 3}), steady(5, look{1, 9, 2}), steady(5, look{1, 9, 1}), steady(5, look{1, 9, 0})),
		"a look between migration's ends": {{1, 100, 30}, {1, 100, 0}, {1, 70, 1}, {1, 71, 1}, {1, 72, 1}, {1, 73, 1}, {1, 74, 1}, {1, 75, 1}, {1, 76, 1}},
	} {
		c, now := NewCheck(500*time.Millisecond), time.Hour
		for i, l := range looks {
			now += l.gap * c.Interval()
			v := c.Look(now, []Reading{{Slot: 1, Opened: l.opened, Backlog: l.backlog}, {Slot: 2}})
			if !reflect.DeepEqual(v, Verdict{}) {
				t.Errorf("%s: look %d: %+v", name, i, v)
				break
			}
		}
	}
}

// TestForgetsASlotThatWasMissing drained for a while, say.
func TestForgetsASlotThatWasMissing(t *testing.T) {
	c := NewCheck(500 * time.Millisecond)
	slot, other := Reading{Slot: 1, Opened: 9, Backlog: 3}, Reading{Slot: 2}
	for i := range time.Duration(20) {
		readings := []Reading{slot, other}
		if i%4 == 0 {
			readings = readings[1:]
		}
		if v := c.Look(i*c.Interval(), readings); !reflect.DeepEqual(v, Verdict{}) {
			t.Fatalf("look %d: %+v", i, v)
		}
	}
}

func TestInterval(t *testing.T) {
	for after, want := range map[time.Duration]time.Duration{
		1: 10 * time.Millisecond, 50 * time.Millisecond: 10 * time.Millisecond,
		500 * time.Millisecond: 100 * time.Millisecond, time.Minute: time.Second,
	} {
		if got := NewCheck(after).Interval(); got != want {
			t.Errorf("after %s: %s, want %s", after, got, want)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a check after 0 is possible")
		}
	}()
	NewCheck(0)
}
