package loader

import (
	"errors"
	"slices"
	"sync"
	"syscall"
	"testing"
)

// refused opens n connections and returns how many were refused. Any other
// failure fails the test.
func (w *world) refused(n int) (refused int) {
	w.t.Helper()
	for range n {
		_, err := w.try(1)
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			refused++
		case err != nil:
			w.t.Error(err)
		}
	}
	return refused
}

func (w *world) maxima(limits ...uint32) {
	w.t.Helper()
	for slot, limit := range limits {
		w.must(w.group.SetMax(slot, limit))
	}
}

// A slot at its maximum is passed over; when all are, a connection is refused
// at once, and counted. A close makes room.
func TestFullSlots(t *testing.T) {
	for _, policy := range Policies() {
		t.Run(policy.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 3, policy)
			w.maxima(5, 10, 0)
			if got := []uint32{w.slot(0).Max, w.slot(1).Max, w.slot(2).Max}; !slices.Equal(got, []uint32{5, 10, 0}) {
				t.Errorf("maxima are shown as %v", got)
			}
			w.connect(60)
			if got := w.shares(); got[0] > 5 || got[1] > 10 || sum(got) != 60 {
				t.Errorf("maxima of 5, 10 and none: %v", got)
			}
			rest := w.shares()[2]
			w.maxima(5, 10, uint32(rest+5))
			room := 20 + rest - 60
			if n := w.refused(room + 7); n != 7 || !slices.Equal(w.shares(), []int{5, 10, rest + 5}) {
				t.Errorf("%d of %d were refused with room for %d: %v", n, room+7, room, w.shares())
			}
			if s := w.snapshot(); s.Refused != 7 || s.Fallback != 0 {
				t.Errorf("%d refused, %d left to a drained slot, want 7 and 0", s.Refused, s.Fallback)
			}
			for _, e := range w.workers[1].acceptAll(t)[:4] {
				e.reset()
			}
			w.counts("four closed", 5+10+rest+5-4)
			w.agree("four closed")
			if n := w.refused(6); n != 2 || w.shares()[1] != 10 {
				t.Errorf("%d of 6 were refused when 4 had closed: %v", n, w.shares())
			}
			w.maxima(5, 0, uint32(rest+5))
			if n := w.refused(20); n != 0 || w.shares()[1] != 30 {
				t.Errorf("%d of 20 were refused with a slot that has no maximum: %v", n, w.shares())
			}
			w.agree("full")
		})
	}
}

// The maximum is exact, however many come at once: neither more are let in, nor
// is one refused while there is room; but for a handshake that another CPU's new
// epoch cuts in two (docs/ARCHITECTURE.md, Pending picks).
func TestMaximumAtOnce(t *testing.T) {
	for _, policy := range Policies() {
		t.Run(policy.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 10, policy)
			for round := range scaled(5, 2) {
				limits := []uint32{20, 20, 20, 20, 20, 20, 20, 20, 20, 1}
				w.maxima(limits...)
				var mu sync.Mutex
				refused := 0
				together(32, func(int) {
					n := w.refused(8)
					mu.Lock()
					defer mu.Unlock()
					refused += n
				})
				if got := w.shares(); sum(got) < 180 || sum(got) > 182 || refused != 256-sum(got) {
					t.Errorf("round %d: 256 at once, with room for 181: %v, %d refused", round, got, refused)
				}
				w.acceptAll()
				w.closeAll()
				w.empty("closed")
			}
		})
	}
}

// Handshakes that are under way take places too, until they expire.
func TestPendingTakesPlaces(t *testing.T) {
	t.Parallel()
	w, peer, server := raw(t, 2)
	w.maxima(10, 10)
	_, err := peer.SYNs(server, 16)
	w.must(err)
	if got := sum(w.pendings()); got == 16 { // else they have expired
		if n := w.refused(4); n == 4 {
			t.Error("all 4 connections beside 16 handshakes were refused, of 20 places")
		}
	}
	w.closeAll()
	w.acceptAll()
	w.closeAll()
	w.empty("closed")
	w.expired()
	if n := w.refused(21); n != 1 {
		t.Errorf("%d of 21 connections were refused after the handshakes had expired, of 20 places", n)
	}
}

// Drained slots serve when nobody else can, but full ones don't.
func TestFullAndDrained(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, Least)
	w.must(w.group.Drain(0))
	w.must(w.group.Drain(1))
	w.maxima(0, 0, 4)
	if n := w.refused(9); n != 5 || !slices.Equal(w.shares(), []int{0, 0, 4}) {
		t.Errorf("%d of 9 refused: %v; a slot that is full is live all the same", n, w.shares())
	}
	w.must(w.group.Drain(2))
	w.connect(8)
	if got := w.shares(); !slices.Equal(got, []int{4, 4, 4}) {
		t.Errorf("all drained: 8 connections went %v", got)
	}
	if s := w.snapshot(); s.Fallback != 8 || s.Refused != 5 {
		t.Errorf("%d came when no slot was live, %d were refused; want 8 and 5", s.Fallback, s.Refused)
	}
	w.agree("all drained")
}
