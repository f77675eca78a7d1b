package control

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/sockdist/sockdist/userspace/sockets"
)

// serving returns the slots that listen in the group, in order.
func (l *listeners) serving(g sockets.Group) []int {
	var slots []int
	for at, p := range l.byPlace {
		if at.group == g && !p.closed {
			slots = append(slots, at.slot)
		}
	}
	slices.Sort(slots)
	return slots
}

// slotsIn is serving for others.
func (l *listeners) slotsIn(g sockets.Group) []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.serving(g)
}

// announce says once that a group is complete, or, if it never will be, what
// there is.
func (l *listeners) announce(g sockets.Group, anyway bool) {
	slots := l.serving(g)
	workers := len(l.crew.staying())
	if l.announced[g] || len(slots) == 0 || (len(slots) < workers && !anyway) {
		return
	}
	l.announced[g] = true
	of := ""
	if len(slots) < workers {
		of = fmt.Sprintf(" of %d", workers)
	}
	noun := "workers"
	if workers == 1 {
		noun = "worker"
	}
	l.log.Info(fmt.Sprintf("listening on %s with %d%s %s (pids %s)", g.Address, len(slots), of, noun, l.pids(slots)))
	l.complete()
}

func (l *listeners) pids(slots []int) string {
	var pids []int
	for _, slot := range slots {
		if w := l.crew.in(slot); w != nil {
			pids = append(pids, w.pid())
		}
	}
	return joinNumbers(pids)
}

// takeStock is called when the workers had time enough to listen. It tells
// whether any does, and at least where, if no group is complete.
func (l *listeners) takeStock() bool {
	l.scan()
	l.mu.Lock()
	defer l.mu.Unlock()
	incomplete, listens := len(l.announced) == 0, false
	for at, p := range l.byPlace {
		if p.closed {
			continue
		}
		listens = true
		if incomplete {
			l.announce(at.group, true)
		}
	}
	return listens
}

// isAnnounced tells whether all workers serve, or did, at the address.
func (l *listeners) isAnnounced(address netip.AddrPort) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for g := range l.announced {
		if g.Address == address {
			return true
		}
	}
	return false
}
