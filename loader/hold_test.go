package loader

import (
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// A slot is picked again when the last reason to hold it is gone.
func TestHoldsForSeveralReasons(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, Least)
	steps := []struct {
		do    func(int, Hold) error
		why   Hold
		holds Hold
		state State
	}{
		{w.group.Hold, HoldStart, HoldStart, Starting},
		{w.group.Hold, HoldDrain, HoldStart | HoldDrain, Draining},
		{w.group.Hold, HoldHang, HoldStart | HoldDrain | HoldHang, Ejected},
		{w.group.Hold, HoldLeave, holdAll &^ HoldSelf, Ejected},
		{w.group.Hold, HoldSelf, holdAll, Ejected},
		{w.group.Unhold, HoldHang | HoldDrain, HoldStart | HoldLeave | HoldSelf, Draining},
		{w.group.Unhold, HoldLeave, HoldStart | HoldSelf, Draining},
		{w.group.Unhold, HoldSelf, HoldStart, Starting},
		{w.group.Unhold, HoldHang, HoldStart, Starting},
		{w.group.Unhold, HoldStart, 0, Live},
	}
	for _, step := range steps {
		w.must(step.do(1, step.why))
		if s := w.slot(1); s.Hold != step.holds || s.State != step.state {
			t.Errorf("after %s the slot is %s, held for %q; want %s, %q", step.why, s.State, s.Hold, step.state, step.holds)
		}
		before := w.slot(1).Picks
		w.connect(4)
		if picked := w.slot(1).Picks != before; picked != (step.holds == 0) {
			t.Errorf("held for %q, picked: %v", step.holds, picked)
		}
	}
	for _, why := range []Hold{0, 32} {
		if err := errors.Join(w.group.Hold(0, why), w.group.Unhold(0, why)); !errors.Is(err, unix.EINVAL) {
			t.Errorf("hold %d: %v", why, err)
		}
	}
}

// Where every slot is held, those that drain serve before those that start, and
// those that hang come last.
func TestAllHeld(t *testing.T) {
	t.Parallel()
	for _, policy := range Policies() {
		w := newWorld(t, 4, policy)
		holds := []Hold{HoldHang | HoldStart, HoldHang, HoldStart | HoldDrain, HoldLeave | HoldSelf}
		for slot, why := range holds {
			w.must(w.group.Hold(slot, why))
		}
		for _, want := range [][]int{{0, 0, 0, 6}, {0, 0, 6}, {0, 6}, {6}} {
			w.connect(6)
			if got := w.shares(); !slices.Equal(got[:len(want)], want) {
				t.Errorf("%s: slots have %v, want %v", policy, got, want)
			}
			w.closeAll()
			w.acceptAll()
			w.closeAll()
			w.empty("closed")
			w.workers[len(want)-1].close()
		}
	}
}

// Another listener in the slot inherits an operator's drain, and no more.
func TestHoldsOfNextListener(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, Least)
	for slot, why := range []Hold{holdAll, HoldStart | HoldHang | HoldLeave} {
		w.must(w.group.Hold(slot, why))
	}
	for slot, want := range []Hold{HoldDrain | HoldStart, HoldStart} {
		fresh := w.listen(1, w.workers[2].address)[0]
		w.workers = w.workers[:3]
		w.workers[slot].close()
		fresh.slot, w.workers[slot] = slot, fresh
		l := fresh.listener()
		l.Hold = HoldStart
		_, err := w.group.Add(slot, l)
		w.must(err)
		if s := w.slot(slot); s.Hold != want {
			t.Errorf("slot %d is held for %q, want %q", slot, s.Hold, want)
		}
	}
	l := w.workers[2].listener()
	l.Hold = 32
	if _, err := w.group.Add(2, l); !errors.Is(err, unix.EINVAL) {
		t.Errorf("an unknown hold: %v", err)
	}
}
