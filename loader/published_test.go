package loader

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
)

// publish is what a worker of the slot would do: one store.
func (w *world) publish(slot int, load uint64) {
	atomic.StoreUint64(&w.group.load.value.Slot[slot].Load, load)
}

// reports says that the slots' workers publish a load.
func (w *world) reports(slots ...int) {
	w.t.Helper()
	for _, slot := range slots {
		l := w.workers[slot].listener()
		l.Reports = true
		got, err := w.group.Add(slot, l)
		if w.must(err); got != slot {
			w.t.Fatalf("listener %d has slot %d", slot, got)
		}
	}
}

// absurd is what no worker's load can be.
const absurd = ^uint64(0)

func TestPublishedLoadShiftsPicks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 20, Least)
	w.reports(0, 9)
	w.publish(0, 5)
	w.publish(9, 2)
	if a, b := w.slot(0).Load, w.slot(9).Load; a != 5 || b != 2 {
		t.Errorf("loads are shown as %d and %d, 5 and 2 were published", a, b)
	}
	w.connect(20*6 - 7)
	shares := w.shares()
	want := slices.Repeat([]int{6}, 20)
	want[0], want[9] = 1, 4
	if !slices.Equal(shares, want) {
		t.Errorf("with loads of 5 at slot 0 and 2 at slot 9: %v", shares)
	}
	// What a load was does not matter once it has changed.
	w.publish(0, 0)
	w.publish(9, 4)
	w.connect(5)
	if shares := w.shares(); shares[0] != 6 || shares[9] != 4 {
		t.Errorf("after five more, with loads of 0 and 4: %v", shares)
	}
	w.publish(9, 0)
	w.connect(22)
	w.even("with no load", 7)
}

func TestPublishedLoadCountsByWeight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, Least)
	w.must(w.group.SetWeight(0, 200))
	w.reports(0)
	w.publish(0, 10)
	w.connect(200)
	if got := w.shares(); got[0] != 130 || got[1] != 70 {
		t.Errorf("130+10 and 70 are in the proportion of the weights, connections went %v", got)
	}
}

// Only who was said to report is listened to.
func TestUnreportedLoadIsIgnored(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, Least)
	w.publish(0, 1000)
	w.publish(1, absurd)
	w.connect(40)
	w.even("with loads that nobody reads", 10)
}

// A worker that joins after its listener got the slot reports from then on, and
// goes on doing so when the listener is added again, as after a take-over.
func TestSetReports(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, Least)
	w.publish(0, 6)
	if err := w.group.SetReports(0, w.slot(1).Cookie, true); !errors.Is(err, ErrNoSlot) {
		t.Errorf("another's cookie: %v", err)
	}
	w.must(w.group.SetReports(0, w.slot(0).Cookie, true))
	_, err := w.group.Add(0, w.workers[0].listener())
	w.must(err)
	if load := w.slot(0).Load; load != 6 {
		t.Errorf("a load of %d", load)
	}
	w.connect(8)
	if got := w.shares(); got[0] != 1 || got[1] != 7 {
		t.Errorf("with a load of 6 at slot 0: %v", got)
	}
	// The same listener, and another process.
	other := w.workers[0].listener()
	other.PID++
	_, err = w.group.Add(0, other)
	w.must(err)
	w.connect(6)
	if got := w.shares(); got[0] != 7 || got[1] != 7 {
		t.Errorf("with a load that nobody has said it publishes: %v", got)
	}
	w.must(w.group.SetReports(0, w.slot(0).Cookie, true))
	w.must(w.group.SetReports(0, w.slot(0).Cookie, false))
	w.connect(2)
	w.even("with a load that isn't published any more", 8)
}

// What a dead worker had published doesn't count against the next in its slot,
// not even if that one publishes a load as well.
func TestLoadOfTheNextWorker(t *testing.T) {
	t.Parallel()
	for _, reports := range []bool{false, true} {
		w := newWorld(t, 2, Least)
		w.reports(0)
		w.publish(0, 1000)
		atomic.StoreUint64(&w.group.load.value.Slot[0].Beat, 7)
		next := w.listen(1, w.workers[1].address)[0]
		w.workers = w.workers[:2]
		w.workers[0].close()
		next.slot, w.workers[0] = 0, next
		l := next.listener()
		l.Reports = reports
		_, err := w.group.Add(0, l)
		w.must(err)
		if s := w.slot(0); s.Load != 0 || s.Beat != 0 {
			t.Errorf("reports %v: a load of %d, a heartbeat of %d", reports, s.Load, s.Beat)
		}
		w.connect(10)
		w.even("with another worker in slot 0", 5)
	}
}

// Nonsense in a worker's cache line keeps connections from that worker, as long
// as there are others, and does nothing else.
func TestAbsurdLoad(t *testing.T) {
	for _, policy := range Policies() {
		t.Run(policy.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 10, policy)
			w.reports(0, 1, 9)
			for _, load := range []uint64{absurd, absurd >> 1, 1 << 63, 1 << 47, 1 << 32, 1 << 20} {
				w.publish(0, load)
				before := w.shares()
				w.connect(45)
				after := w.shares()
				if got := after[0] - before[0]; (policy == Least || policy == P2C) && got != 0 {
					t.Errorf("slot 0 got %d connections at a load of %#x", got, load)
				}
				if rest := after[1:]; policy == Least && slices.Min(rest) != slices.Max(rest) {
					t.Errorf("a load of %#x at slot 0 made %v of the others", load, rest)
				}
			}
			w.publish(1, absurd)
			w.publish(9, absurd-1)
			w.connect(50)
			for slot := 1; slot < 10; slot++ {
				w.must(w.group.Drain(slot))
			}
			before := w.slot(0).Connections
			w.connect(10)
			if got := w.slot(0).Connections - before; got != 10 {
				t.Errorf("slot 0 got %d of 10 connections when nobody else was live", got)
			}
			if s := w.snapshot(); s.Refused != 0 || s.Fallback != 0 {
				t.Errorf("%d connections refused, %d left to a drained slot", s.Refused, s.Fallback)
			}
			w.agree("absurd loads")
		})
	}
}
