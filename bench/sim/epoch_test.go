//go:build cgo

package sim

import (
	"runtime"
	"testing"
)

const second = 1_000_000_000 // ns

// Epochs that pass in the middle of handshakes, however long these are, don't
// make a pick count for less than it is, or for longer than for two epochs.
func TestEpochsPassUnnoticed(t *testing.T) {
	for _, slots := range []int{8, 64} {
		passEpochs(t, slots, func(int64) int64 { return 0 })
	}
}

// Nor do they where jiffies stand still for up to 60 ms and catch up at once, as
// on virtual machines that miss ticks.
func TestEpochsPassUnnoticedWhileTicksStall(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer stallTicks(0)
	for _, every := range []int64{70_000_000, 333_000_000} {
		passEpochs(t, 8, func(now int64) int64 {
			if since := now % every; since < 60_000_000 {
				return since
			}
			return 0
		})
	}
}

// passEpochs has picks and handshakes at random moments, with jiffies behind the
// clock by so many ns.
func passEpochs(t *testing.T, slots int, behind func(now int64) int64) {
	t.Helper()
	h := newHistory(1, (&Scenario{Workers: slots}).weights(), false)
	var given []handshake // up for ever
	for range 60_000 {
		h.now += h.Int64N(300_000)
		stallTicks(behind(h.now))
		h.passTime(h.now)
		switch x := h.IntN(10); {
		case x < 3:
			h.pickOne(t)
		case x < 7 && len(h.pending) > 0:
			if p := takeOne(h, &h.pending); h.now-p.began < second {
				h.places = append(h.places, h.opens(h.now, p.place, h.now-p.began, h.Uint32()))
			} else {
				given = append(given, p)
			}
		case len(h.places) > 0:
			h.closes(takeOne(h, &h.places))
		}
		h.checkPending(t, given)
	}
}

// checkPending: picks of the last second are pending, and none that is older than two.
func (h *history) checkPending(t *testing.T, given []handshake) {
	t.Helper()
	least, most := make([]int, len(h.scale)), make([]int, len(h.scale))
	for _, list := range [][]handshake{h.pending, given} {
		for _, p := range list {
			if h.now-p.began < second*9/10 {
				least[p.slot]++
			}
			if h.now-p.began < second*21/10 {
				most[p.slot]++
			}
		}
	}
	for slot := range h.scale {
		s := &h.state.slot[slot]
		if pending := int(int32(uint32(s.picks) - uint32(s.counts>>32))); pending < least[slot] || pending > most[slot] {
			t.Fatalf("at %d ns slot %d has %d pending picks, not %d to %d", h.now, slot, pending, least[slot], most[slot])
		}
	}
}
