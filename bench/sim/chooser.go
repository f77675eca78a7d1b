package sim

import "fmt"

// MaxWorkers is how many a group can have.
const MaxWorkers = 256

// Where a connection can be besides in a slot.
const (
	nowhere = -1 // refused, or lost with its worker
	central = -2 // in the queue of all workers
)

// A place is a use of a slot: another worker that comes to it has another generation.
type place struct {
	slot       int
	generation uint32
}

// A chooser says which worker gets a connection. Slots are 0 … workers−1; moments
// are nanoseconds since the start.
type chooser interface {
	// pick is asked when a SYN comes.
	pick(now int64, random uint32) place

	// opens is told that a handshake is over, which took so long, and says where
	// the connection is then: another place if its listener is gone.
	opens(now int64, at place, took int64, random uint32) place

	// closes is told that the kernel has closed the connection.
	closes(at place)

	// dies closes the slot's listener. Then moves is asked for all in its queue.
	dies(slot int)
	moves(now int64, from place, random uint32) place

	// holds keeps picks away from the slot; joins has a new worker in it.
	holds(slot int)
	joins(slot int)

	// publish stores what the worker says of its load.
	publish(slot int, load int)
}

// Contenders lists what can choose: the policies, then
//
//	kernel   the kernel's own hash over the listeners, no program: uniform, blind, and a crash loses the queue
//	master   a process that accepts all and deals them out in turn; a crash loses what the worker got
//	shared   one queue for all workers: what can't be beaten without knowing service times
func Contenders() []string {
	return append(policies(), "kernel", "master", sharedQueue)
}

// sharedQueue is what everything is compared with.
const sharedQueue = "shared"

func policies() []string { return []string{"least", "p2c", "rr", "random", "hash"} }

// newChooser makes a contender by its name.
func newChooser(name string, weights []int, reports bool) (chooser, error) {
	for number, policy := range policies() {
		if policy == name {
			return newGroup(uint32(number), weights, reports)
		}
	}
	switch name {
	case "kernel":
		return newListeners(len(weights)), nil
	case "master":
		return &master{listeners: newListeners(len(weights))}, nil
	case sharedQueue:
		return queueOfAll{}, nil
	}
	return nil, fmt.Errorf("contender %q: use some of %v", name, Contenders())
}

// listeners are what the kernel's hash chooses from.
type listeners struct {
	generation []uint32
	open       []int
}

func newListeners(n int) *listeners {
	l := &listeners{generation: make([]uint32, n)}
	for slot := range n {
		l.joins(slot)
	}
	return l
}

func (l *listeners) place(slot int) place { return place{slot, l.generation[slot]} }

func (l *listeners) pick(_ int64, random uint32) place {
	if len(l.open) == 0 {
		return place{slot: nowhere}
	}
	return l.place(l.open[uint64(random)*uint64(len(l.open))>>32])
}

func (l *listeners) opens(_ int64, at place, _ int64, _ uint32) place {
	if l.generation[at.slot] != at.generation {
		return place{slot: nowhere}
	}
	return at
}

func (l *listeners) closes(place) {}

func (l *listeners) dies(slot int) {
	l.generation[slot]++
	l.holds(slot)
}

func (l *listeners) moves(int64, place, uint32) place { return place{slot: nowhere} }

func (l *listeners) holds(slot int) {
	for i, open := range l.open {
		if open == slot {
			l.open = append(l.open[:i], l.open[i+1:]...)
			return
		}
	}
}

func (l *listeners) joins(slot int) {
	l.generation[slot]++
	l.open = append(l.open, slot)
}

func (l *listeners) publish(int, int) {}

// master deals out connections when their handshake is over.
type master struct {
	*listeners
	turn int
}

func (m *master) pick(int64, uint32) place { return place{slot: central} }

func (m *master) opens(int64, place, int64, uint32) place {
	if len(m.open) == 0 {
		return place{slot: nowhere}
	}
	m.turn = (m.turn + 1) % len(m.open)
	return m.place(m.open[m.turn])
}

// queueOfAll leaves the choice to the worker that is free.
type queueOfAll struct{}

func (queueOfAll) pick(int64, uint32) place                  { return place{slot: central} }
func (queueOfAll) opens(int64, place, int64, uint32) place   { return place{slot: central} }
func (queueOfAll) closes(place)                              {}
func (queueOfAll) dies(int)                                  {}
func (queueOfAll) moves(_ int64, from place, _ uint32) place { return from }
func (queueOfAll) holds(int)                                 {}
func (queueOfAll) joins(int)                                 {}
func (queueOfAll) publish(int, int)                          {}
