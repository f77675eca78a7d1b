package loader

import (
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Snapshot is a group at one moment.
type Snapshot struct {
	Spec  GroupSpec
	Taken time.Time

	Refused       uint64 // connections refused because all live slots were full
	Fallback      uint64 // connections that came when no slot was live: a held one got them
	Migrated      uint64 // queued connections and handshakes moved from a closed listener to another slot
	MigrateFailed uint64 // … for which no slot was found
	Retries       uint64 // picks of a slot whose socket had just gone
	Stale         uint64 // closes of connections from an earlier use of a slot
	ProbeMissed   uint64 // connections of Dial whose slot was gone; the policy decided
	Unmarked      uint64 // moves that stayed in the old slot's count, because the table of moves was full
	Corrected     uint64 // connections by which Recount put counts right

	Slots []Slot // those in use, by number
}

// A Slot is one slot at one moment.
type Slot struct {
	Slot        int
	PID         int    // who accepts
	Start       uint64 // its start time
	Cookie      uint64 // of its listener
	State       State
	Hold        Hold // why it gets no new connections; 0 if it does
	Generation  uint32
	Weight      int
	Max         uint32 // 0: any number
	Connections uint64
	Pending     uint64
	Load        uint64 // that its worker publishes; 0 if it doesn't
	Beat        uint64 // likewise: rises while the worker gets on; 0: it tells nothing of that
	Picks       uint64 // since the group was made
	Probed      uint64 // of these, those that Dial asked for

	// Opened is how many connections were counted in since the listener got the
	// slot, less those that left its accept queue for another slot. So Opened
	// minus the length of the queue is how many its worker has accepted.
	Opened uint64

	Migrated uint64 // connections that came from closed listeners
	MovedOut uint64 // connections that left when its listener closed
}

// snapshotTries bounds the search for a moment at which nothing changes.
const snapshotTries = 32

// Snapshot reads the group. The slots are of one moment: it is read until two
// readings in a row agree. Under more traffic than allows that, each slot is
// right by itself.
func (g *Group) Snapshot() (Snapshot, error) {
	before, after := new(abiGroup), new(abiGroup)
	g.memory.value.copyTo(before)
	for range snapshotTries {
		g.memory.value.copyTo(after)
		if before.Slot == after.Slot && before.Info == after.Info {
			break
		}
		before, after = after, before
	}
	return g.snapshotOf(after), nil
}

// copyTo reads word by word, as the programs write.
func (m *abiGroup) copyTo(to *abiGroup) {
	const words = unsafe.Sizeof(*m) / 8
	from := (*[words]uint64)(unsafe.Pointer(m))
	for i := range from {
		(*[words]uint64)(unsafe.Pointer(to))[i] = atomic.LoadUint64(&from[i])
	}
}

func (g *Group) snapshotOf(m *abiGroup) Snapshot {
	s := Snapshot{Spec: specOf(m), Taken: time.Now(), Refused: m.Counters.Refused, Fallback: m.Counters.Fallback, ProbeMissed: m.Counters.ProbeMissed,
		Migrated: m.Counters.Migrated, MigrateFailed: m.Counters.MigrateFailed, Retries: m.Counters.Retries,
		Stale: m.Counters.Stale, Unmarked: m.Counters.Unmarked, Corrected: m.Counters.Corrected}
	epochs := m.epochsSince()
	for i := range m.Slot {
		if State(m.Info[i].State) != Free {
			s.Slots = append(s.Slots, g.slotAt(m, i, epochs))
		}
	}
	return s
}

func (g *Group) slotAt(m *abiGroup, i, epochs int) Slot {
	slot, info := &m.Slot[i], &m.Info[i]
	s := Slot{Slot: i, PID: int(info.Pid), Start: info.Start, Cookie: slot.Cookie, State: info.state(), Hold: Hold(info.Hold),
		Generation: info.Generation, Weight: int(info.Weight), Max: slot.Max, Connections: uint64(uint32(slot.Counts)),
		Pending: m.pending(i, epochs), Picks: slot.Picks, Migrated: info.Migrated, MovedOut: info.MovedOut, Opened: info.Opened, Probed: info.Probed}
	if s.Max == noMax {
		s.Max = 0
	}
	if info.Reports != 0 {
		s.Load = atomic.LoadUint64(&g.load.value.Slot[i].Load)
		s.Beat = atomic.LoadUint64(&g.load.value.Slot[i].Beat)
	}
	return s
}

// epochsSince is how many epochs have gone by that no pick has noticed yet.
func (m *abiGroup) epochsSince() int {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return 0
	}
	return int(uint64(now.Nano())-m.EpochNs) / (epochSeconds * 1_000_000_000)
}

// pending is what bpf/handshake.h would say if a pick came now.
func (m *abiGroup) pending(i, epochs int) uint64 {
	slot, info := &m.Slot[i], &m.Info[i]
	left := int64(int32(uint32(slot.Picks) - uint32(slot.Counts>>32)))
	switch {
	case epochs >= 2:
		left = 0
	case epochs == 1: // those of the epoch before the last noticed one
		last := (m.Epoch + 1) & 1
		left -= int64(int32(uint32(info.Mark[m.Epoch&1]-info.Mark[last]) - uint32(info.Settled[last])))
	}
	return uint64(max(left, 0))
}
