package loader

import (
	"fmt"
	"testing"
)

// The counts go with connections that the kernel moves from a listener that
// closes to another one, and stay right whatever comes then.
func TestCountsOfMoved(t *testing.T) {
	for kind, where := range loopbacks {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 4, Least, where)
			clients := w.connect(80)
			w.workers[0].close()
			w.agree("moved")
			w.workers[1].close()
			w.agree("moved, some twice")
			w.each("closed in the queue they were moved to", clients[:20], closeEnd)
			servers := w.acceptAll()
			w.agree("accepted")
			w.each("reset by clients", clients[20:40], resetEnd)
			w.each("closed by servers", servers, closeEnd)
		})
	}
}

// With nobody to go to, connections end with their listener.
func TestCountsOfLastListener(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, Least)
	clients := w.connect(20)
	accepted := w.workers[0].acceptAll(t)
	w.workers[1].close()
	w.agree("moved")
	w.workers[0].shut()
	w.agree("queue reset, accepted ones live on")
	if n := w.slot(0).Connections; n != uint64(len(accepted)) {
		t.Errorf("slot 0 has %d connections, it had accepted %d", n, len(accepted))
	}
	w.each("closed by clients", clients, closeEnd)
	w.each("closed by servers", accepted, closeEnd)
}

// Closes of connections from a slot's earlier use don't touch its new one.
func TestCountsOfReusedSlot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, Least)
	w.connect(40)
	old := w.acceptAll()[:10] // slot 0 comes first
	w.workers[0].close()
	if s := w.slot(0); s.State != Gone || s.Connections != 10 {
		t.Errorf("after its listener closed: %+v", s)
	}
	before := w.slot(0).Generation
	former := w.workers[0].accepted
	w.replace(0)
	if s := w.slot(0); s.State != Live || s.Connections != 0 || s.Generation <= before {
		t.Errorf("after a new listener came: %+v", s)
	}
	w.connect(10)
	if n := w.slot(0).Connections; n != 10 {
		t.Errorf("the new listener got %d of 10 connections", n)
	}
	for _, e := range former {
		e.close()
	}
	w.closeClients(old)
	w.agree("old connections closed")
	w.eventually("closes are of an earlier use", func() error {
		if s := w.snapshot(); s.Stale != 10 {
			return fmt.Errorf("%d of 10 are", s.Stale)
		}
		return nil
	})
}

// The same with connections that had been moved into the slot.
func TestCountsOfMovedIntoReusedSlot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, Least)
	w.connect(20)
	w.workers[0].close()
	w.agree("moved")
	w.workers[1].acceptAll(t)
	former := w.workers[1].accepted
	w.workers[1].close()
	w.replace(0)
	w.replace(1)
	w.connect(6)
	w.acceptAll()
	for _, e := range former {
		e.reset()
	}
	w.agree("old connections reset")
	w.eventually("moves are forgotten", func() error {
		if m := w.group.memory.value.Moved; m != 0 {
			return fmt.Errorf("%d are remembered", m)
		}
		return nil
	})
}

// replace gives the slot a new listener; what the old one had accepted is no
// longer looked at.
func (w *world) replace(slot int) {
	w.t.Helper()
	fresh := w.listen(1, port(w.workers[slot].address, w.server.Port()))[0]
	w.workers = w.workers[:len(w.workers)-1]
	w.former = append(w.former, w.workers[slot].accepted...)
	fresh.slot, w.workers[slot] = slot, fresh
	w.add(fresh)
	w.must(w.group.Steer(fresh.fd))
}

// closeClients closes the clients of these server ends.
func (w *world) closeClients(servers []*end) {
	for _, s := range servers {
		for _, c := range w.clients {
			if c.local == s.remote {
				c.close()
			}
		}
	}
}

// A free slot's listener still belongs to the kernel's group: when it closes,
// its queue moves, and counts where it goes.
func TestCountsMovedFromFreedSlot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, Least)
	w.connect(30)
	w.must(w.group.Remove(0))
	w.workers[0].close()
	w.agreeWithout(0, "moved from a slot that was removed")
	w.acceptAll()
	w.agreeWithout(0, "accepted")
}

// agreeWithout is agree on all slots but one, whose worker is left out of it.
func (w *world) agreeWithout(slot int, what string) {
	w.t.Helper()
	all := w.workers
	w.workers = append(append([]*worker{}, all[:slot]...), all[slot+1:]...)
	w.agree(what)
	w.workers = all
}

// Where all others are drained, they get the queue, and its counts.
func TestCountsMovedToDrained(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, Least)
	w.connect(40)
	for slot := 1; slot < 4; slot++ {
		w.must(w.group.Drain(slot))
	}
	w.workers[0].close()
	w.agree("moved to drained slots")
	w.acceptAll()
	w.agree("accepted")
}

// Connections older than the group that nobody adopted are not counted, neither
// before a move nor after.
func TestCountsMovedUnadopted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, Least)
	w.incomplete = true
	w.must(w.group.Unsteer(w.workers[0].fd))
	w.must(w.group.Destroy())
	w.group.Close()
	w.connect(20)
	w.create(Least)
	for _, worker := range w.workers {
		w.add(worker)
	}
	w.must(w.group.Steer(w.workers[0].fd))
	young := w.connect(10)
	w.workers[0].close()
	for _, c := range w.clients[:20] {
		c.reset()
	}
	dead := map[int]int{1: 20}
	w.agreeBut("old ones reset after the move", dead)
	if n := w.slot(1).Connections; n != uint64(len(young)) {
		t.Errorf("slot 1 has %d connections, of %d that came with the group", n, len(young))
	}
	w.acceptAll()
	w.agree("accepted")
}

// Groups that follow one another under one number share nothing, though moved
// connections of the first are still alive.
func TestCountsOfGroupsInTurn(t *testing.T) {
	t.Parallel()
	host := newHost(t)
	keeper := newWorld(t, 1, Least, on(host))
	first := newWorld(t, 2, Least, on(host))
	first.connect(20)
	first.workers[0].close()
	first.agree("moved")
	first.acceptAll()
	first.agree("moved in the first group")
	id := first.group.memory.value.Id
	first.must(first.group.Unsteer(first.workers[1].fd))
	first.must(first.group.Destroy())
	first.group.Close()
	first.group = nil

	second := newWorld(t, 2, Least, on(host))
	if second.group.memory.value.Id != id {
		t.Fatalf("the second group has number %d, the first had %d", second.group.memory.value.Id, id)
	}
	second.connect(20)
	second.workers[0].close()
	second.agree("moved in the second group")
	first.closeAll()
	second.acceptAll()
	second.each("reset", second.clients, resetEnd)
	keeper.agree("a third group")
}
