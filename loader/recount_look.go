package loader

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"github.com/cilium/ebpf"
)

// A look is one walk over the sockets, and what the group said before and after.
type look struct {
	before, after reading
	tally         tally
}

// A tally is what the sockets themselves say.
type tally struct {
	slot  [MaxSlots]int // connections that are counted
	moved []uint64      // cookies of those that have changed their slot
}

// A reading is what a group says at about one moment.
type reading struct {
	slot  [MaxSlots]slotReading
	moved int
}

type slotReading struct {
	connections int
	opened      int // rises with each connection that is counted in, as long as the slot isn't gone
	movedOut    int
	generation  uint32
	gone        bool
}

func (m *abiGroup) read() (r reading) {
	for i := range m.Slot {
		info := &m.Info[i]
		r.slot[i] = slotReading{
			opened:      int(atomic.LoadUint64(&info.Opened)),
			connections: connectionsIn(atomic.LoadUint64(&m.Slot[i].Counts)),
			movedOut:    int(atomic.LoadUint64(&info.MovedOut)),
			generation:  atomic.LoadUint32(&info.Generation),
			gone:        State(atomic.LoadUint32(&info.State)) == Gone,
		}
	}
	r.moved = int(atomic.LoadUint64(&m.Moved))
	return r
}

// look walks once, together with others who look at their groups just now.
func (r *recounter) look() (look, error) {
	return censusOf(r.group.memory.value.Meta.Netns).look(r)
}

// count adds a connection whose storage says where it was born.
func (r *recounter) count(t *tally, cookie uint64, born abiOrigin) error {
	place, moved, err := r.place(cookie, born)
	if err != nil {
		return err
	}
	if moved {
		t.moved = append(t.moved, cookie)
	}
	if r.counts(born, place) {
		t.slot[place.Slot]++
	}
	return nil
}

// place is where a connection is now.
func (r *recounter) place(cookie uint64, born abiOrigin) (place abiOrigin, moved bool, err error) {
	m := r.group.memory.value
	if atomic.LoadUint64(&m.Moved) == 0 {
		return born, false, nil
	}
	err = r.maps.Moved.Lookup(cookie, &place)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return place, false, fmt.Errorf("read a move: %w", err)
	}
	if err != nil || place.Group != m.Id {
		return born, false, nil
	}
	return place, true, nil
}

// counts tells whether a slot's present use has the connection in its count.
func (r *recounter) counts(born, place abiOrigin) bool {
	m := r.group.memory.value
	return born.Group == m.Id && born.Generation != 0 && born.Counted != 0 &&
		place.Generation != 0 && place.Generation == atomic.LoadUint32(&m.Info[place.Slot].Generation)
}

// A drift is by how much a count is too high: something from least to most;
// below 0 it is too low.
type drift struct{ least, most int }

// unknown is the drift of a slot about which a look says nothing.
var unknown = drift{math.MinInt, math.MaxInt}

// drift compares a slot's count with its tally. The walk meets each connection
// once, somewhere between the two readings: those that closed since the first
// may be lacking, those that opened may be there. Of a slot that stood still the
// drift is known exactly.
func (l *look) drift(slot int) drift {
	before, after := l.before.slot[slot], l.after.slot[slot]
	opens := after.opened - before.opened
	closes := opens - (after.connections - before.connections)
	switch {
	case before.generation != after.generation, before.movedOut != after.movedOut, opens < 0, closes < 0:
		return unknown
	case (before.gone || after.gone) && before != after: // what leaves its queue is no longer opened
		return unknown
	}
	excess := before.connections - l.tally.slot[slot]
	return drift{excess - closes, excess + opens}
}

// doubtful tells whether something seems to be wrong: a count, or moves of
// connections that are no more.
func (l *look) doubtful() bool {
	for i := range l.tally.slot {
		if d := l.drift(i); d.least > 0 || d.most < 0 {
			return true
		}
	}
	return min(l.before.moved, l.after.moved) > len(l.tally.moved)
}

// evidence is what several looks say of one slot.
type evidence struct{ least, most []int }

func (e *evidence) add(d drift) {
	if d != unknown {
		e.least, e.most = append(e.least, d.least), append(e.most, d.most)
	}
}

// bounds are those that enough looks vouch for.
func (e *evidence) bounds() drift {
	if len(e.least) < recountWitnesses {
		return unknown
	}
	least, most := slices.Sorted(slices.Values(e.least)), slices.Sorted(slices.Values(e.most))
	return drift{least[len(least)-recountWitnesses], most[recountWitnesses-1]}
}

// exact tells whether another look would say no more.
func (e *evidence) exact() bool {
	d := e.bounds()
	return d.least == d.most
}

// drift is what can be corrected without a doubt. More closes may go unseen
// during the looks, so a drift only rises: what was too much at one of them still is.
func (e *evidence) drift() int {
	d := e.bounds()
	switch {
	case d.least > d.most:
		return 0 // the looks contradict each other
	case d.least > 0:
		return d.least
	case d.most < 0:
		return d.most
	}
	return 0
}
