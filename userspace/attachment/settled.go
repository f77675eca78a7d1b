package attachment

import (
	"slices"
	"time"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/health/rounds"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// What those who watch see together when it is their turn.
var (
	namesSeen    rounds.Sights[string, []string]          // of the groups, by the host's folder
	steerersSeen rounds.Sights[uint64, map[uint64]uint32] // by the namespace's inode
)

// isSettled tells whether an attempt would change nothing: each listener has its
// slot, and the slot its server, and the groups' programs choose. An attempt reads
// all groups of the host, one after the other, and keeps everybody else from
// attaching meanwhile; a hundred who watch can't do that every half minute. Counts
// are put right on the way.
func (w *watcher) isSettled(moment time.Time) (settled bool) {
	err := w.ns.do(func() error {
		listening, err := sockets.ListenersSince(moment)
		if err != nil {
			return err
		}
		found, err := w.options.group(matching(listening, w.options.Address))
		if err != nil || len(found) != len(w.groups) || refuseTwins(found) != nil {
			return err
		}
		steerers, err := steerersSeen.Since(moment, w.ns.inode, loader.Steerers)
		if err != nil {
			return err
		}
		for _, k := range found {
			if w.options.refuse(k, len(found) == 1) != nil {
				return nil
			}
			if same, err := w.isAsItWas(k, steerers); !same || err != nil {
				return err
			}
		}
		settled = true
		return nil
	})
	return settled && err == nil
}

// isAsItWas compares a group with the sockets that the kernel has.
func (w *watcher) isAsItWas(k kernelGroup, steerers map[uint64]uint32) (bool, error) {
	key := k.key
	key.Interface = 0
	g, err := w.host.Group(w.groups[key])
	if err != nil {
		return false, err
	}
	defer g.Close()
	s, err := g.Snapshot()
	if err != nil || s.Spec.NetNS != w.ns.inode || s.Spec.App != "" {
		return false, err
	}
	p := makePlan(s.Slots, k.listeners)
	if len(p.moved)+len(p.out)+len(p.taken)+len(p.gone) > 0 {
		return false, nil
	}
	program, err := g.ProgramID()
	if err != nil {
		return false, err
	}
	for _, seat := range p.kept {
		if steerers[seat.listener.Cookie] != program {
			return false, nil
		}
	}
	// Where nothing is counted nothing can have closed unseen.
	if slices.ContainsFunc(s.Slots, func(slot loader.Slot) bool { return slot.Connections > 0 }) {
		w.recountOne(g)
	}
	return true, nil
}

func matching(all []sockets.Listener, a sockets.Address) (some []sockets.Listener) {
	for _, l := range all {
		if a.Matches(l) {
			some = append(some, l)
		}
	}
	return some
}
