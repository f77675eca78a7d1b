package membership

import (
	"fmt"
	"testing"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/ledger"
)

// 1,000 joins and leaves under load, in several ways, by several processes: no
// connection is lost, no slot and no descriptor is left, and the counts are exact.
func TestThousandJoins(t *testing.T) {
	w := newWorld(t)
	stay := w.workers(2)
	before := descriptors(t)
	run := w.load(ledger.Load{Rate: 150})
	w.juggle(800)
	book := w.settle(run)
	served := 0
	for pid, n := range book.PIDs() {
		if pid != stay[0].pid() && pid != stay[1].pid() {
			served += n
		}
	}
	t.Logf("%d of %d connections were served by workers that came and went", served, len(book.Entries))
	if served == 0 {
		t.Error("those who come and go were never picked")
	}
	w.abrupt()
	w.until("only the slots of those who stay are taken", func() bool { return len(w.slots()) == 2 })
	w.agree(nil)
	held := clients.Hold(t, w.config.Listen, 40)
	want := make(map[int]int)
	for _, slot := range w.slots() {
		want[slot] = 20
	}
	for slot, n := range held.Slots() {
		if n != want[slot] {
			t.Errorf("slot %d has %d connections, want %d", slot, n, want[slot])
		}
	}
	w.agree(want)
	held.Close()
	w.agree(nil)
	s := w.snapshot()
	if s.MigrateFailed != 0 || s.Unmarked != 0 || s.Refused != 0 {
		t.Errorf("%+v", s)
	}
	w.until("no descriptor is left", func() bool { return descriptors(t) <= before })
}

const jugglers = 4

// juggle has processes join and leave so often, all together.
func (w *world) juggle(cycles int, args ...string) {
	w.t.Helper()
	var all []*child
	for range jugglers {
		all = append(all, w.start(user, append(args, "-cycles", fmt.Sprint(cycles/jugglers))...))
	}
	for _, c := range all {
		if err := c.end(); err != nil {
			w.t.Errorf("process %d: %v", c.pid(), err)
		}
	}
}

// abrupt has workers close without draining. A handshake that ends in that very
// moment the kernel may reset; nothing else is lost.
func (w *world) abrupt() {
	w.t.Helper()
	run := w.load(ledger.Load{Rate: 150, First: 1_000_000})
	const leaves = 200
	w.juggle(leaves, "-abrupt")
	resets := 0
	for _, e := range run.Finish().Losses() {
		if e.Column != ledger.ResetBeforeAccept || e.Phase > ledger.Asking {
			w.t.Errorf("lost: %v", e)
		}
		resets++
	}
	w.t.Logf("%d handshakes were reset in %d abrupt leaves", resets, leaves)
	if resets > leaves/10 {
		w.t.Errorf("%d handshakes were reset in %d abrupt leaves", resets, leaves)
	}
}
