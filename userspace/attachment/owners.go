package attachment

import (
	"errors"
	"slices"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// acceptedStates are those of connections that a process can have. Half-open
// ones count themselves when they are done.
var acceptedStates = []sockets.State{
	sockets.Established, sockets.CloseWait, sockets.FinWait1, sockets.FinWait2, sockets.LastAck, sockets.Closing,
}

// owners tells which slot has which of the accepted connections, and how many
// are of processes without a slot.
func owners(connections []sockets.Connection, seats []seat) (owner map[uint64]int, unowned int, err error) {
	var inodes []uint32
	for _, c := range connections {
		inodes = append(inodes, c.Inode) // 0, which is nobody's, where it isn't accepted
	}
	holders, err := sockets.Holders(inodes)
	var hidden *sockets.HiddenError
	if err != nil && !errors.As(err, &hidden) {
		return nil, 0, err // a connection that nobody has any more is nothing special
	}

	owner = make(map[uint64]int, len(connections))
	slots := placesOf(seats)
	for _, c := range connections {
		if at := slots.of(holders[c.Inode]); at != nil {
			at.given++
			owner[c.Cookie] = at.slot
		} else if len(holders[c.Inode]) > 0 {
			unowned++
		}
	}
	return owner, unowned, nil
}

// connections lists those that came through the group.
func (k kernelGroup) connections() ([]sockets.Connection, error) {
	all, err := sockets.ConnectionsIn(exactly(k.key.Address), acceptedStates...)
	if err != nil {
		return nil, err
	}
	closer, err := k.moreSpecific()
	if err != nil {
		return nil, err
	}
	any := sockets.Listener{Address: k.key.Address, V6Only: k.key.V6Only}
	return slices.DeleteFunc(all, func(c sockets.Connection) bool {
		return !any.Accepts(c) ||
			slices.ContainsFunc(closer, func(l sockets.Listener) bool { return l.Accepts(c) })
	}), nil
}

// moreSpecific lists the listeners that take connections before a wildcard's do.
func (k kernelGroup) moreSpecific() ([]sockets.Listener, error) {
	wildcard := func(a sockets.Group) bool { return a.Address.Addr().Unmap().IsUnspecified() }
	if !wildcard(k.key) {
		return nil, nil
	}
	all, err := sockets.Listeners(sockets.Address{})
	return slices.DeleteFunc(all, func(l sockets.Listener) bool {
		return l.Address.Port() != k.key.Address.Port() || wildcard(l.Group())
	}), err
}

// A place is a slot of a process.
type place struct {
	slot   int
	server sockets.Holder
	given  int // connections
}

// places are the slots of each process, by PID.
type places map[int][]*place

func placesOf(seats []seat) places {
	p := make(places)
	for _, s := range seats {
		server := s.listener.server
		p[server.PID] = append(p[server.PID], &place{slot: s.slot, server: server})
	}
	return p
}

// of chooses the place of a connection, nil if none of its holders has one.
func (p places) of(holders []sockets.Holder) *place {
	holder := sockets.Server(slices.DeleteFunc(slices.Clone(holders), func(h sockets.Holder) bool {
		return len(p[h.PID]) == 0
	}))
	here := p[holder.PID]
	if len(here) == 0 {
		return nil
	}
	if holder.PollsIt {
		same := slices.DeleteFunc(slices.Clone(here), func(at *place) bool {
			return !at.server.PollsIt || at.server.Set != holder.Set
		})
		if len(same) > 0 {
			here = same
		}
	}
	return slices.MinFunc(here, func(a, b *place) int { return a.given - b.given })
}

// ownersAtOnce is how many the kernel side takes at a time.
const ownersAtOnce = 200_000

// adopt counts the connections that are older than their slots, and tells how
// many can't be.
func (k kernelGroup) adopt(g *loader.Group, seats []seat) (unowned int, err error) {
	connections, err := k.connections()
	if err != nil {
		return 0, err
	}
	owner, unowned, err := owners(connections, seats)
	if err != nil {
		return 0, err
	}
	if err := adoptParts(g, owner); err != nil || unowned == 0 {
		return 0, err
	}
	// Some may have been counted long ago, before they changed hands.
	s, err := g.Snapshot()
	if err != nil {
		return 0, err
	}
	uncounted := len(connections)
	for _, slot := range s.Slots {
		uncounted -= int(slot.Connections)
	}
	return min(unowned, max(uncounted, 0)), nil
}

func adoptParts(g *loader.Group, owner map[uint64]int) error {
	part := make(map[uint64]int)
	for cookie, slot := range owner {
		part[cookie] = slot
		if len(part) == ownersAtOnce {
			if _, err := g.Adopt(part); err != nil {
				return err
			}
			clear(part)
		}
	}
	_, err := g.Adopt(part)
	return err
}
