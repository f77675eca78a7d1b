package loader

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// A Listener is what gets a slot.
type Listener struct {
	FD    int    // a listening TCP socket with SO_REUSEPORT; stays the caller's
	PID   int    // who accepts from it; for display
	Start uint64 // start time of that process (field 22 of /proc/PID/stat), so that a recycled PID is told apart

	// Reports: the worker publishes a load. Its slot's block is then read at every
	// pick. It stays so as long as the process has this listener in the slot.
	Reports bool

	// Hold keeps new connections away from the slot from the beginning, until Unhold.
	Hold Hold
}

// Add gives the listener a slot and returns it: slot, or the lowest free one if
// slot is negative. A slot that is gone can be taken again by its number, and
// keeps the weight, maximum and drain that an operator gave it. Connections born
// from the listener from now on are counted; see Adopt for earlier ones.
//
// Adding a listener that has a slot already returns that one; l.Hold is then not
// looked at. That goes for a listener which was shut and listens again too: its
// slot is no longer gone, and it keeps its generation, holds and counts, for the
// connections that it had accepted are still its own.
//
// Errors wrap ErrSlotTaken, ErrFull, ErrMPTCP, ErrNotListening, ErrNotShared,
// and ErrSteered if the socket is in a socket array that is not the group's.
func (g *Group) Add(slot int, l Listener) (got int, err error) {
	defer wrap(&err, "group %s: add socket", g.name)
	if l.Hold != 0 {
		if err := l.Hold.check(); err != nil {
			return 0, err
		}
	}
	cookie, err := checkListener(l.FD)
	if err != nil {
		return 0, err
	}
	unlock, err := g.exclusive()
	if err != nil {
		return 0, err
	}
	defer unlock()

	if has, ok := g.slotOf(cookie); ok {
		if err := g.revive(has, cookie, l.FD); err != nil {
			return 0, fmt.Errorf("slot %d: %w", has, err)
		}
		l.Reports = l.Reports || g.reports(has, l)
		g.describe(has, l)
		g.memory.value.reweigh() // who gave it the slot may have been killed before
		return has, nil
	}
	if slot, err = g.vacant(slot); err != nil {
		return 0, err
	}
	if err := g.occupy(slot, cookie, l); err != nil {
		return 0, fmt.Errorf("slot %d: %w", slot, err)
	}
	return slot, nil
}

// checkListener tells why a socket can't be steered, and gives its cookie.
func checkListener(fd int) (cookie uint64, err error) {
	listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNotListening, err)
	}
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	switch {
	case err != nil:
		return 0, fmt.Errorf("read protocol: %w", err)
	case protocol == unix.IPPROTO_MPTCP:
		return 0, ErrMPTCP
	case protocol != unix.IPPROTO_TCP || listening == 0:
		return 0, ErrNotListening
	}
	if shared, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT); err != nil || shared == 0 {
		return 0, errors.Join(ErrNotShared, err)
	}
	cookie, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		return 0, fmt.Errorf("read cookie: %w", err)
	}
	return cookie, nil
}

// slotOf is the slot that the listener has, or had when it was shut.
func (g *Group) slotOf(cookie uint64) (int, bool) {
	for i := range g.memory.value.Slot {
		if g.state(i) != Free && g.memory.value.Slot[i].Cookie == cookie {
			return i, true
		}
	}
	return 0, false
}

// revive brings a listener that was shut and listens again back into its slot.
// Its socket still says which use of the slot it belongs to.
func (g *Group) revive(slot int, cookie uint64, fd int) error {
	if g.state(slot) != Gone {
		return nil
	}
	maps, err := g.host.pinnedMaps()
	if err != nil {
		return err
	}
	defer maps.close()
	if err := g.put(slot, cookie, fd); err != nil {
		return err
	}
	// One that found the slot empty may still be about to say so.
	if err := g.awaitPrograms(maps); err != nil {
		return err
	}
	atomic.StoreUint32(&g.memory.value.Info[slot].State, uint32(Live))
	return nil
}

// awaitPrograms returns when all programs that run now have ended: the kernel
// waits for that before it returns from an update of a map of maps.
func (g *Group) awaitPrograms(maps *hostMaps) error {
	if err := maps.Groups.Put(g.memory.value.Id, g.slots); err != nil {
		return fmt.Errorf("wait for programs: %w", err)
	}
	return nil
}

func (g *Group) state(slot int) State {
	return State(atomic.LoadUint32(&g.memory.value.Info[slot].State))
}

func (g *Group) vacant(slot int) (int, error) {
	if slot >= MaxSlots {
		return 0, fmt.Errorf("slot %d: slots are 0 to %d: %w", slot, MaxSlots-1, ErrNoSlot)
	}
	if slot >= 0 {
		if state := g.state(slot); state == Live || state == Draining {
			return 0, fmt.Errorf("slot %d: %w", slot, ErrSlotTaken)
		}
		return slot, nil
	}
	for i := range MaxSlots {
		if g.state(i) == Free {
			m := g.memory.value
			m.Info[i].Weight, m.Info[i].Hold, m.Slot[i].Max = DefaultWeight, 0, noMax
			return i, nil
		}
	}
	return 0, fmt.Errorf("%d slots: %w", MaxSlots, ErrFull)
}

// occupy brings the listener into the slot. Nothing is picked before the last step.
func (g *Group) occupy(slot int, cookie uint64, l Listener) error {
	maps, err := g.host.pinnedMaps()
	if err != nil {
		return err
	}
	defer maps.close()
	generation, err := g.host.nextGeneration()
	if err != nil {
		return err
	}
	// First what can be refused: another group's listener keeps its mark.
	if err := g.put(slot, cookie, l.FD); err != nil {
		return err
	}
	if err := g.renew(slot, generation, maps); err != nil {
		return err
	}
	if err := g.mark(slot, generation, l.FD, maps); err != nil {
		return err
	}
	m := g.memory.value
	atomic.StoreUint64(&m.Slot[slot].Cookie, cookie)
	g.load.value.Slot[slot].clear()
	g.describe(slot, l)
	atomic.StoreUint32(&m.Info[slot].Hold, m.Info[slot].Hold&uint32(HoldDrain)|uint32(l.Hold))
	atomic.StoreUint32(&m.Info[slot].State, uint32(Live))
	m.reweigh()
	return nil
}

// renew ends the slot's earlier use: connections of then no longer count.
func (g *Group) renew(slot int, generation uint32, maps *hostMaps) error {
	m := g.memory.value
	counts, current := &m.Slot[slot].Counts, &m.Info[slot].Generation
	if atomic.SwapUint32(current, 0) != 0 || uint32(atomic.LoadUint64(counts)) != 0 {
		// A program that saw the old generation may still be about to count.
		if err := g.awaitPrograms(maps); err != nil {
			return err
		}
		atomic.AddUint64(counts, -uint64(int64(connectionsIn(atomic.LoadUint64(counts)))))
	}
	atomic.StoreUint64(&m.Info[slot].Opened, 0)
	atomic.StoreUint32(current, generation)
	return nil
}

// connectionsIn is the low half of a slot's counts. If it is below 0, as events
// were lost, it has borrowed 1 of the high half, which gets it back when as many are added.
func connectionsIn(counts uint64) int { return int(int32(uint32(counts))) }

// mark tells the accounting which slot the listener's connections belong to. What a bind hook noted stays.
func (g *Group) mark(slot int, generation uint32, fd int, maps *hostMaps) error {
	var origin abiOrigin
	if err := maps.Origins.Lookup(int32(fd), &origin); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("read socket storage: %w", err)
	}
	origin.Group, origin.Generation, origin.Slot = g.memory.value.Id, generation, uint8(slot)
	if err := maps.Origins.Put(int32(fd), &origin); err != nil {
		return fmt.Errorf("write socket storage: %w", err)
	}
	return nil
}

// put stores the socket in the array that the program selects from.
func (g *Group) put(slot int, cookie uint64, fd int) error {
	err := g.sockets.Put(uint32(slot), uint64(fd))
	if errors.Is(err, unix.EBUSY) && g.removeStray(cookie) {
		err = g.sockets.Put(uint32(slot), uint64(fd))
	}
	switch {
	case errors.Is(err, unix.EBUSY):
		return ErrSteered
	case errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.Errno(524)): // ENOTSUPP has no name in user space
		return ErrMPTCP
	case errors.Is(err, unix.EINVAL):
		return ErrNotListening
	}
	return err
}

// removeStray takes the socket out of a slot that it was given by a call that did not get to its end.
func (g *Group) removeStray(cookie uint64) bool {
	for i := range uint32(MaxSlots) {
		var in uint64
		if g.sockets.Lookup(i, &in) == nil && in == cookie {
			return g.sockets.Delete(i) == nil
		}
	}
	return false
}

// reports tells whether the slot's worker publishes a load, and is the listener's.
func (g *Group) reports(slot int, l Listener) bool {
	info := &g.memory.value.Info[slot]
	return info.Reports != 0 && info.Pid == uint32(l.PID) && info.Start == l.Start
}

// SetReports says whether the worker of the listener with this cookie publishes
// a load: see Listener.Reports. The error wraps ErrNoSlot if another one has the slot.
func (g *Group) SetReports(slot int, cookie uint64, reports bool) error {
	return g.change("set load of", slot, func(m *abiGroup) error {
		if m.Slot[slot].Cookie != cookie {
			return fmt.Errorf("another listener has it: %w", ErrNoSlot)
		}
		m.Info[slot].Reports = uint32(flag(reports))
		g.noteReporting()
		return nil
	})
}

func (g *Group) describe(slot int, l Listener) {
	info := &g.memory.value.Info[slot]
	info.Pid, info.Start, info.Reports = uint32(l.PID), l.Start, uint32(flag(l.Reports))
	g.noteReporting()
}

// noteReporting tells steer which blocks have published loads.
func (g *Group) noteReporting() {
	var reporting uint32
	for i := range g.memory.value.Info {
		if g.memory.value.Info[i].Reports != 0 {
			reporting |= 1 << (i / blockSlots)
		}
	}
	atomic.StoreUint32(&g.memory.value.Reporting, reporting)
}

// clear forgets what an earlier worker of the slot published.
func (l *abiLoad) clear() {
	atomic.StoreUint64(&l.Load, 0)
	atomic.StoreUint64(&l.Beat, 0)
	atomic.StoreUint64(&l.Requests, 0)
}

func flag(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// Remove frees a slot: nothing is picked for it, and connections that it has
// are no longer counted. What waits in its accept queue stays there.
func (g *Group) Remove(slot int) error {
	return g.change("remove", slot, func(m *abiGroup) error {
		atomic.StoreUint32(&m.Slot[slot].Scale, 0)
		atomic.StoreUint32(&m.Info[slot].State, uint32(Free))
		if err := g.sockets.Delete(uint32(slot)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		m.Slot[slot].Cookie = 0
		g.describe(slot, Listener{})
		maps, err := g.host.pinnedMaps()
		if err != nil {
			return err
		}
		defer maps.close()
		generation, err := g.host.nextGeneration()
		if err != nil {
			return err
		}
		err = g.renew(slot, generation, maps)
		atomic.StoreUint32(&m.Info[slot].State, uint32(Free)) // one that found it empty may have said that it is gone
		return err
	})
}

// SetWeight sets a slot's weight, 0 … MaxWeight; 0 keeps new connections away.
func (g *Group) SetWeight(slot, weight int) error {
	if weight < 0 || weight > MaxWeight {
		return fmt.Errorf("weight %d: must be 0 to %d: %w", weight, MaxWeight, unix.EINVAL)
	}
	return g.change("weight", slot, func(m *abiGroup) error {
		m.Info[slot].Weight = uint32(weight)
		return nil
	})
}

// SetMax sets how many connections, pending ones included, a slot may have; 0
// means any number. If all live slots are full, new connections are refused.
func (g *Group) SetMax(slot int, connections uint32) error {
	return g.change("maximum", slot, func(m *abiGroup) error {
		if connections == 0 {
			connections = noMax
		}
		atomic.StoreUint32(&m.Slot[slot].Max, connections)
		return nil
	})
}

// SetPolicy changes the policy for the next connection on.
func (g *Group) SetPolicy(policy Policy) (err error) {
	defer wrap(&err, "group %s: set policy", g.name)
	if err := policy.check(); err != nil {
		return err
	}
	if err := g.pinned(); err != nil {
		return err
	}
	atomic.StoreUint32(&g.memory.value.Policy, uint32(policy))
	return nil
}

// change alters a slot in use, under the lock, and then all that follows from it.
func (g *Group) change(what string, slot int, alter func(*abiGroup) error) (err error) {
	defer wrap(&err, "group %s: %s slot %d", g.name, what, slot)
	unlock, err := g.exclusive()
	if err != nil {
		return err
	}
	defer unlock()
	if slot < 0 || slot >= MaxSlots || g.state(slot) == Free {
		return ErrNoSlot
	}
	if err := alter(g.memory.value); err != nil {
		return err
	}
	g.memory.value.reweigh()
	return nil
}
