package membership

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/health"
)

const (
	// canaryPatience bounds how long a canary may take to come to a queue.
	canaryPatience = 200 * time.Millisecond
	// rescueAgain is when a rescue that failed is tried again.
	rescueAgain = 5 * time.Second
)

// An ejection is a worker that hangs.
type ejection struct {
	member *member
	// queue tells that it was seen by the queue, and so has to be seen to
	// accept; others have to beat. As nobody comes to an ejected one, a canary
	// waits in its queue: a connection of ours.
	queue  bool
	canary net.Conn      // nil: there is none
	failed time.Duration // when its queue couldn't be rescued; 0: it could
}

// judge ejects members that hang, and readmits those that go on.
func (w *guard) judge(now time.Duration, seen []*sight) {
	var queues, beats []health.Reading
	ejected := 0
	for _, s := range seen {
		p := s.progress
		held := p.Hold&loader.HoldHang != 0
		queues = append(queues, health.Reading{Slot: p.Slot, Opened: p.Opened, Backlog: s.backlog, Ejected: held})
		if p.Beat != 0 {
			// A heart that stands still is as a queue of one that nobody accepts from.
			beats = append(beats, health.Reading{Slot: p.Slot, Opened: p.Beat, Backlog: 1, Ejected: held})
		}
		if held {
			ejected++
			w.inherit(s)
		}
	}
	queue, beat := w.queue.Look(now, queues), w.beat.Look(now, beats)
	w.readmit(queue.Recovered, true)
	w.readmit(beat.Recovered, false)

	hung := make(map[int]bool)
	for _, f := range append(append(queue.Hung, queue.Suspects...), append(beat.Hung, beat.Suspects...)...) {
		hung[f.Slot] = true
	}
	if queue.FailOpen || beat.FailOpen || len(hung) > 0 && 2*(len(hung)+ejected) > len(seen) {
		w.sayOpen(len(hung))
		return
	}
	w.open = false
	for _, f := range queue.Hung {
		w.eject(now, f, true)
	}
	for _, f := range beat.Hung {
		w.eject(now, f, false)
	}
}

func (w *guard) sayOpen(hung int) {
	if !w.open {
		w.group.log.Warn(fmt.Sprintf("%d workers show no progress, which is most of them: none is ejected, as the cause is hardly theirs", hung))
	}
	w.open = true
}

// eject keeps new connections from a member.
func (w *guard) eject(now time.Duration, f health.Finding, queue bool) {
	s := w.seen[f.Slot]
	if w.ejected[f.Slot] != nil || s.isStarved(now, f.For, w.after) {
		return
	}
	what := fmt.Sprintf("its heartbeat stands still for %v", f.For.Round(time.Millisecond))
	if queue {
		what = fmt.Sprintf("%d connections wait and it has accepted none for %v", f.Backlog, f.For.Round(time.Millisecond))
	}
	w.group.log.Warn(fmt.Sprintf("%s hangs: %s; it gets no new ones", s.member, what))
	w.group.hold(s.member, loader.HoldHang)
	s.progress.Hold |= loader.HoldHang
	w.ejected[f.Slot] = &ejection{member: s.member, queue: queue}
}

// inherit looks after a member that was ejected by an earlier daemon, or before
// it drained for a while.
func (w *guard) inherit(s *sight) {
	e := w.ejected[s.member.slot]
	switch {
	case e == nil || e.member.cookie != s.member.cookie:
		w.forget(s.member.slot)
		w.ejected[s.member.slot] = &ejection{member: s.member, queue: s.progress.Beat == 0}
	default:
		e.member = s.member // it may have joined again
		e.queue = e.queue || s.progress.Beat == 0
	}
}

func (w *guard) readmit(slots []int, queue bool) {
	for _, slot := range slots {
		if e := w.ejected[slot]; e != nil && e.queue == queue {
			w.group.unhold(e.member, loader.HoldHang)
			w.group.log.Info(fmt.Sprintf("%s goes on", e.member))
			w.forget(slot)
		}
	}
}

// tend looks after those that hang, and returns who wants a canary.
func (w *guard) tend(now time.Duration, seen []*sight) (canaries []*ejection) {
	for slot := range w.ejected {
		if w.seen[slot] == nil {
			w.forget(slot) // it has ended, or drains
		}
	}
	for _, s := range seen {
		e := w.ejected[s.member.slot]
		if e == nil {
			continue
		}
		own := uint64(0)
		if e.canary != nil {
			own = 1
		}
		// Handshakes that were under way end in the queue later. At one that has just
		// accepted, nothing is done: shutting its listener would wake it.
		if s.backlog > own && s.stuck > 0 && w.hasOthers(s) {
			e.rescue(now, w.group)
		}
		if e.queue && e.canary == nil {
			canaries = append(canaries, e)
		}
	}
	return canaries
}

// rescue gives the queue to others.
func (e *ejection) rescue(now time.Duration, g *Group) {
	if e.failed != 0 && now-e.failed < rescueAgain {
		return
	}
	e.dropCanary() // or others would get it with the rest
	e.failed = 0
	if err := g.rescue(e.member); err != nil {
		e.failed = now
		g.log.Error(fmt.Sprintf("give the queue of %s to others: %v", e.member, err))
	}
}

// hasOthers tells whether somebody could take the queue; it would be reset else.
func (w *guard) hasOthers(s *sight) bool {
	for _, p := range w.slots {
		if p.Slot != s.member.slot && p.State == loader.Live {
			return true
		}
	}
	return false
}

func (e *ejection) sendCanary(g *Group) {
	ctx, cancel := context.WithTimeout(context.Background(), canaryPatience)
	defer cancel()
	conn, err := g.kernel.Dial(ctx, e.member.slot, g.place.Address)
	if err != nil {
		g.log.Debug("no canary for a worker that hangs", "slot", e.member.slot, "why", err)
		return
	}
	e.canary = conn
}

func (w *guard) forget(slot int) {
	if e := w.ejected[slot]; e != nil {
		e.dropCanary()
		delete(w.ejected, slot)
	}
}

func (e *ejection) dropCanary() {
	if e.canary != nil {
		e.canary.Close()
		e.canary = nil
	}
}
