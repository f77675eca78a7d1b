package loader

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// pickable is a slot's score as a fraction, if the slot can be picked.
func pickable(s Slot) (held, weight uint64, ok bool) {
	held = s.Connections + s.Pending
	return held, uint64(s.Weight), s.State == Live && (s.Max == 0 || held < uint64(s.Max))
}

// lowest are the slots that least may pick.
func lowest(s Snapshot) map[int]bool {
	best := make(map[int]bool)
	var least, per uint64 = 1, 0
	for _, slot := range s.Slots {
		held, weight, ok := pickable(slot)
		if !ok || held*per > least*weight {
			continue
		}
		if held*per < least*weight {
			clear(best)
			least, per = held, weight
		}
		best[slot.Slot] = true
	}
	return best
}

// pickedSince is the one slot that had a pick between two snapshots.
func pickedSince(before, after Snapshot) (slot int, err error) {
	slot = -1
	for i, s := range after.Slots {
		switch s.Picks - before.Slots[i].Picks {
		case 0:
		case 1:
			if slot >= 0 {
				return -1, fmt.Errorf("slots %d and %d were picked for one connection", slot, s.Slot)
			}
			slot = s.Slot
		default:
			return -1, fmt.Errorf("slot %d was picked %d times for one connection", s.Slot, s.Picks-before.Slots[i].Picks)
		}
	}
	if slot < 0 {
		err = fmt.Errorf("no slot was picked")
	}
	return slot, err
}

// leave closes the i-th of the open connections and waits until that is counted.
func (w *world) leave(open []*end, i int) []*end {
	w.t.Helper()
	open[i].reset()
	open[i] = open[len(open)-1]
	open = open[:len(open)-1]
	w.counts("a close is counted", len(open))
	return open
}

// Whatever comes and goes, every single pick is one of the slots with the lowest score.
func TestEveryPickIsLowest(t *testing.T) {
	for name, prepare := range map[string]func(w *world, slot int){
		"equal":   func(*world, int) {},
		"weights": func(w *world, slot int) { w.must(w.group.SetWeight(slot, []int{100, 300, 70, 101, 1}[slot%5])) },
		"maximum": func(w *world, slot int) { w.must(w.group.SetMax(slot, uint32(slot%4+2))) },
	} {
		for _, slots := range []int{2, 13, 100} {
			t.Run(fmt.Sprintf("%s %d", name, slots), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, slots, Least)
				for slot := range slots {
					prepare(w, slot)
				}
				w.wander(2*slots, scaled(500, 100))
			})
		}
	}
}

// wander opens connections, each of which must go where the score is lowest, and
// closes others at random, so that there are about so many.
func (w *world) wander(mean, arrivals int) {
	var open []*end
	for range arrivals {
		for rand.IntN(len(open)+mean) < len(open) {
			open = w.leave(open, rand.IntN(len(open)))
		}
		before := w.snapshot()
		may := lowest(before)
		if len(may) == 0 { // all are full
			open = w.leave(open, rand.IntN(len(open)))
			continue
		}
		open = append(open, w.connect(1)...)
		slot, err := pickedSince(before, w.snapshot())
		w.must(err)
		if !may[slot] {
			w.t.Fatalf("slot %d was picked of %+v", slot, before.Slots)
		}
	}
}
