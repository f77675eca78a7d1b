package loader

import (
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Progress is what moves in a slot while its worker gets on.
type Progress struct {
	Slot   int
	Cookie uint64 // of its listener
	State  State  // Live or Gone: what holds it back is in Hold
	Hold   Hold
	// Reports: its worker publishes a load.
	Reports bool

	Connections uint64
	Picks       uint64 // since the group was made
	Opened      uint64 // see Slot.Opened
	Migrated    uint64 // connections that came from closed listeners
	Beat        uint64 // what its worker counts up for as long as it gets on; 0: it doesn't
}

// Progress appends what each slot in use shows now. It is a look into memory of
// a few microseconds, for who looks many times a second; each number is right by
// itself, and they needn't be of one moment: see Snapshot.
func (g *Group) Progress(into []Progress) []Progress {
	m := g.memory.value
	for i := range m.Slot {
		state := g.state(i)
		if state == Free {
			continue
		}
		slot, info := &m.Slot[i], &m.Info[i]
		into = append(into, Progress{
			Slot: i, Cookie: atomic.LoadUint64(&slot.Cookie), State: state,
			Hold: Hold(atomic.LoadUint32(&info.Hold)), Reports: atomic.LoadUint32(&info.Reports) != 0,
			Connections: uint64(uint32(atomic.LoadUint64(&slot.Counts))), Picks: atomic.LoadUint64(&slot.Picks),
			Opened: atomic.LoadUint64(&info.Opened), Migrated: atomic.LoadUint64(&info.Migrated),
			Beat: atomic.LoadUint64(&g.load.value.Slot[i].Beat),
		})
	}
	return into
}

// LoadsFile returns a descriptor of the group's loads, to be given to its workers,
// which map it. It is the caller's to close.
func (g *Group) LoadsFile() (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(g.loads.FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("group %s: duplicate the descriptor of its loads: %w", g.name, err)
	}
	return os.NewFile(uintptr(fd), "loads"), nil
}
