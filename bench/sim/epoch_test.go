//go:build cgo

package sim

import "testing"

// Epochs that pass in the middle of handshakes, however long these are, don't
// make a pick count for less than it is.
func TestEpochsPassUnnoticed(t *testing.T) {
	for _, slots := range []int{8, 64} {
		h := newHistory(1, (&Scenario{Workers: slots}).weights(), false)
		for range 60_000 {
			h.now += h.Int64N(300_000) // ns
			h.passTime(h.now)
			switch x := h.IntN(10); {
			case x < 3:
				h.pickOne(t)
			case x < 7 && len(h.pending) > 0:
				if p := takeOne(h, &h.pending); h.now-p.began < 1e9 { // otherwise it expires
					h.places = append(h.places, h.opens(h.now, p.place, h.now-p.began, h.Uint32()))
				}
			case len(h.places) > 0:
				h.closes(takeOne(h, &h.places))
			}
			for slot := range slots {
				s := &h.state.slot[slot]
				if pending := int32(uint32(s.picks) - uint32(s.counts>>32)); pending < 0 {
					t.Fatalf("slot %d has %d pending picks", slot, pending)
				}
			}
		}
	}
}
