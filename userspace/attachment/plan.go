package attachment

import (
	"slices"

	"github.com/sockdist/sockdist/loader"
)

// A seat is a listener with its slot, or -1 for the lowest that is free.
type seat struct {
	slot     int
	listener listener
}

// A plan says how a group's slots come to match the sockets that listen.
type plan struct {
	kept  []seat        // have it already
	moved []seat        // of kept: those that another process serves now
	out   []loader.Slot // live, and not wanted: to be freed before anything else
	taken []seat        // get one: of a gone listener if there is one
	gone  []loader.Slot // their listeners are gone and nobody takes them
}

// makePlan compares. The newcomers come in the order of listeners, and each
// gets the slot that it, or its process, had; or else the lowest gone one.
func makePlan(slots []loader.Slot, listeners []listener) (p plan) {
	newcomers := slices.Clone(listeners)
	for _, s := range slots {
		i := slices.IndexFunc(newcomers, func(l listener) bool { return l.Cookie == s.Cookie })
		switch {
		case s.State == loader.Gone:
			p.gone = append(p.gone, s)
		case i < 0:
			p.out = append(p.out, s)
		default:
			at := seat{s.Slot, newcomers[i]}
			p.kept = append(p.kept, at)
			if !at.servedBy(s) {
				p.moved = append(p.moved, at)
			}
			newcomers = slices.Delete(newcomers, i, i+1)
		}
	}
	slot := make([]int, len(newcomers))
	for _, fits := range []func(listener, loader.Slot) bool{
		func(l listener, s loader.Slot) bool { return l.Cookie == s.Cookie },
		func(l listener, s loader.Slot) bool { return seat{listener: l}.servedBy(s) },
		func(listener, loader.Slot) bool { return true },
	} {
		for n, l := range newcomers {
			i := slices.IndexFunc(p.gone, func(s loader.Slot) bool { return fits(l, s) })
			if slot[n] == 0 && i >= 0 {
				slot[n] = p.gone[i].Slot + 1
				p.gone = slices.Delete(p.gone, i, i+1)
			}
		}
	}
	for n, l := range newcomers {
		p.taken = append(p.taken, seat{slot[n] - 1, l})
	}
	return p
}

func (s seat) servedBy(slot loader.Slot) bool {
	return s.listener.server.PID == slot.PID && s.listener.server.Start == slot.Start
}
