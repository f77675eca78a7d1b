package loader

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

type adoptObjects struct {
	Adopt    *ebpf.Program  `ebpf:"adopt"`
	Accepted *ebpf.Map      `ebpf:"accepted"`
	Adopted  *ebpf.Variable `ebpf:"adopted_connections"`
}

// Adopt counts connections that are older than their listener's slot; from then
// on they are counted like any other. owner says which slot has which accepted
// connection, by socket cookie; those that wait in an accept queue are found
// without. It works in the calling thread's network namespace, which must be
// the group's, and returns how many connections it counted. Connections that
// are counted already are left alone, so that it can be repeated. Errors wrap
// ErrNoSlot if nobody is in an owner's slot, and ErrFull above 262,144 owners.
func (g *Group) Adopt(owner map[uint64]int) (adopted int, err error) {
	defer wrap(&err, "group %s: adopt connections", g.name)
	unlock, err := g.exclusive()
	if err != nil {
		return 0, err
	}
	defer unlock()
	maps, err := g.host.pinnedMaps()
	if err != nil {
		return 0, err
	}
	defer maps.close()

	var objects adoptObjects
	if err := load(&objects, map[string]*ebpf.Map{"origins": maps.Origins, "groups": maps.Groups, "moved": maps.Moved}); err != nil {
		return 0, err
	}
	defer closeAll(objects.Adopt, objects.Accepted)
	if err := g.fillOwners(objects.Accepted, owner); err != nil {
		return 0, err
	}
	if err := iterate(objects.Adopt, readAll); err != nil {
		return 0, err
	}
	g.memory.value.forgetHints()
	var counted uint64
	if err := objects.Adopted.Get(&counted); err != nil {
		return 0, err
	}
	return int(counted), nil
}

// Counted returns the cookies of the connections that are counted: who isn't among
// them, and neither was nor will be at another look, is for Adopt. It works in the
// calling thread's network namespace, which must be the group's.
func (g *Group) Counted() (cookies map[uint64]bool, err error) {
	defer wrap(&err, "group %s: look for counted connections", g.name)
	maps, err := g.host.pinnedMaps()
	if err != nil {
		return nil, err
	}
	defer maps.close()
	r, port := recounter{group: g, maps: maps}, g.memory.value.Meta.Port
	cookies = make(map[uint64]bool)
	return cookies, eachOrigin(port, port, maps.Origins, func(cookie uint64, born abiOrigin) error {
		place, _, err := r.place(cookie, born)
		if err == nil && r.counts(born, place) {
			cookies[cookie] = true
		}
		return err
	})
}

func (g *Group) fillOwners(accepted *ebpf.Map, owner map[uint64]int) error {
	m := g.memory.value
	for cookie, slot := range owner {
		if slot < 0 || slot >= MaxSlots || g.state(slot) == Free {
			return fmt.Errorf("slot %d: %w", slot, ErrNoSlot)
		}
		origin := abiOrigin{Group: m.Id, Generation: m.Info[slot].Generation, Slot: uint8(slot)}
		err := accepted.Put(cookie, &origin)
		if errors.Is(err, unix.E2BIG) {
			return fmt.Errorf("%d connections: %w", len(owner), ErrFull)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
