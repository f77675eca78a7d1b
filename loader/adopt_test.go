package loader

import (
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// before takes the group away, lets f do what happens without one, and makes
// another in its place. All workers get slots in that one.
func (w *world) before(f func()) {
	w.t.Helper()
	w.incomplete = true // what was accepted and closed before is not opened
	w.must(w.group.Unsteer(w.workers[0].fd))
	w.must(w.group.Destroy())
	w.group.Close()
	w.group = nil
	f()
	w.create(Least)
	for _, worker := range w.workers {
		w.add(worker)
	}
	w.must(w.group.Steer(w.workers[0].fd))
}

// owners is who accepted what, for Adopt.
func (w *world) owners() map[uint64]int {
	owners := make(map[uint64]int)
	for _, worker := range w.workers {
		for _, e := range worker.accepted {
			owners[e.cookie] = worker.slot
		}
	}
	return owners
}

// adopt may be called from several goroutines.
func (w *world) adopt(owners map[uint64]int) (n int) {
	w.t.Helper()
	err := w.ns.Do(func() (err error) {
		n, err = w.group.Adopt(owners)
		return err
	})
	if err != nil {
		w.t.Error(err)
	}
	return n
}

// adopts checks how many connections are adopted, and that the counts are true.
func (w *world) adopts(what string, want int) {
	w.t.Helper()
	if n := w.adopt(w.owners()); n != want {
		w.t.Errorf("%s: %d connections were adopted, want %d", what, n, want)
	}
	w.agree(what)
}

// Connections that are older than their group count like others once they are
// adopted: those that were accepted, in whatever state, and those that weren't.
func TestAdopt(t *testing.T) {
	for kind, where := range loopbacks {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 3, Least, where)
			w.before(func() {
				clients := w.connect(45)
				servers := w.acceptAll()
				clients = append(clients, w.connect(45)...)
				for i := range 5 {
					w.must(clients[50+i].finish()) // in a queue
					w.must(servers[i].finish())
				}
				// One that both sides finish is none any more.
				for _, c := range clients[:45] {
					if !slices.ContainsFunc(servers[:20], func(s *end) bool { return s.remote == c.local }) {
						w.must(c.finish())
					}
				}
			})
			if n := sum(w.shares()); n != 0 {
				t.Errorf("%d connections are counted before they are adopted", n)
			}
			w.adopts("adopted", 90)
			w.adopts("adopted again", 0)
			w.connect(30)
			w.agree("younger ones came")
			w.adopts("adopted a third time", 0)
			w.each("closed by clients", w.clients[:40], closeEnd)
			w.each("reset by servers", w.acceptAll(), resetEnd)
			w.closeAll()
			w.empty("all closed")
		})
	}
}

// The queues need no owners, and what was accepted isn't found without.
func TestAdoptWithoutOwners(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, Least)
	w.before(func() {
		w.connect(20)
		w.acceptAll()
		w.connect(30)
	})
	if n := w.adopt(nil); n != 30 || sum(w.shares()) != 30 {
		t.Errorf("%d connections of 30 in the queues were adopted, and %d are counted", n, sum(w.shares()))
	}
	w.adopts("with owners", 20)
}

// Connections that an earlier group of the same host had counted are taken over.
func TestAdoptFromEarlierGroup(t *testing.T) {
	t.Parallel()
	host := newHost(t)
	keeper := newWorld(t, 1, Least, on(host)) // keeps what the earlier group noted
	w := newWorld(t, 3, Least, on(host))
	keeper.connect(5)
	w.connect(30)
	w.acceptAll()
	w.connect(30)
	w.before(func() { w.connect(15) })
	w.adopts("taken over", 75)
	w.acceptAll()
	w.each("reset by clients", w.clients, resetEnd)
	keeper.agree("another group")
}

// Other groups' connections, and their owners, are none of its business.
func TestAdoptLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	host := newHost(t)
	w := newWorld(t, 2, Least, on(host))
	other := newWorld(t, 2, Least, on(host), in(w.ns))
	w.before(func() { w.connect(10); w.acceptAll(); w.connect(10) })
	other.connect(7)
	w.adopts("beside another group", 20)
	other.agree("the other group")
	if err := w.ns.Do(func() error { _, err := w.group.Adopt(map[uint64]int{1: 200}); return err }); err == nil {
		t.Error("a slot that is free owns a connection")
	}
}

// A queue of adopted connections moves as any other does, when its listener closes.
func TestAdoptedQueueMoves(t *testing.T) {
	for kind, where := range loopbacks {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1, Least, where)
			w.before(func() {
				w.connect(200)
				w.listen(2, w.workers[0].address)
			})
			w.adopts("adopted", 200)
			if n := w.slot(0).Connections; n != 200 {
				t.Fatalf("slot 0 has %d of 200 connections", n)
			}
			w.workers[0].close()
			w.agree("moved")
			if n := w.slot(0).Connections; n != 0 {
				t.Errorf("slot 0 has %d connections after its queue moved", n)
			}
			if s := w.snapshot(); s.Migrated != 200 || s.MigrateFailed != 0 || s.Stale != 0 {
				t.Errorf("%d moved, %d failed, %d stale; want 200, 0 and 0", s.Migrated, s.MigrateFailed, s.Stale)
			}
			w.adopts("adopted after the move", 0)
			w.each("closed in the queue", w.clients[:50], closeEnd)
			servers := w.acceptAll()
			w.adopts("adopted after they were accepted", 0)
			w.each("closed by servers", servers, closeEnd)
			w.each("closed by clients too", w.clients[50:], closeEnd) // else some stay in FIN-WAIT-2
			w.empty("all closed")
		})
	}
}

// While old connections close and young ones come and go, nothing is counted
// twice, nor left out.
func TestAdoptAmidChurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, Least)
	old, rounds := scaled(300, 60), scaled(400, 40)
	w.before(func() {
		w.connect(old)
		w.acceptAll()
		w.connect(old)
	})
	owners := w.owners()
	queued := append([]*end(nil), w.clients[old:]...)
	var accepted []*end
	for _, worker := range w.workers {
		accepted = append(accepted, worker.accepted...)
	}
	over := make(chan struct{})
	var adopter sync.WaitGroup
	adopter.Go(func() {
		for {
			w.adopt(owners)
			select {
			case <-over:
				return
			default:
			}
		}
	})
	together(4, func(i int) {
		switch i {
		case 0: // old ones close in the queues
			for _, e := range queued[:old/2] {
				e.close()
			}
		case 1: // and where they were accepted
			for n, e := range accepted[:old/2] {
				if n%2 == 0 {
					e.close()
				} else {
					e.reset()
				}
			}
		default: // young ones come, and some stay
			for n := range rounds {
				for _, e := range w.connect(1) {
					if n%4 != 0 {
						e.close()
					}
				}
			}
		}
	})
	close(over)
	adopter.Wait()
	w.agree("after the churn")
	w.adopts("adopted once more", 0)
	w.acceptAll()
	w.agree("accepted")
	w.adopts("adopted when all were accepted", 0)
	w.closeAll()
	w.empty("all closed")
	if s := w.snapshot(); s.Stale != 0 {
		t.Errorf("%d closes are stale", s.Stale)
	}
}

// Adopting in several processes at once counts each connection once.
func TestAdoptAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, Least)
	w.before(func() {
		w.connect(50)
		w.acceptAll()
		w.connect(50)
	})
	owners := w.owners()
	var mu sync.Mutex
	total := 0
	together(4, func(int) {
		n := w.adopt(owners)
		mu.Lock()
		defer mu.Unlock()
		total += n
	})
	if total != 100 {
		t.Errorf("%d connections were adopted, of 100", total)
	}
	w.agree("adopted")
}

// A connection that closed between the look at its owner and Adopt is no loss.
func TestAdoptOfClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, Least)
	var gone []*end
	w.before(func() {
		w.connect(10)
		gone = w.acceptAll()[:4]
	})
	owners := w.owners()
	for _, e := range gone {
		e.reset()
	}
	w.eventually("the resets arrive", func() error {
		all, err := w.established()
		if err == nil && len(all) != 6 {
			err = unix.EAGAIN
		}
		return err
	})
	if n := w.adopt(owners); n != 6 {
		t.Errorf("%d connections were adopted, 6 of 10 live", n)
	}
	w.agree("adopted")
}
