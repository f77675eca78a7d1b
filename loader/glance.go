package loader

import "sync/atomic"

// A Glance is what a group showed when it was last glanced at. The zero Glance
// has seen nothing yet.
type Glance struct {
	slots uint64
	beats [MaxSlots]uint64
}

// Glance tells whether a look is worth it: whether anything has happened in the
// group since the last call (a pick, a connection that came or went, another
// listener, state or hold of a slot), or a heartbeat has not. It reads a few cache
// lines a slot, those that a pick reads and writes, and neither waits nor fails:
// who has a hundred groups can glance at all of them several times a second.
func (g *Group) Glance(last *Glance) bool {
	slots, still := g.memory.value.digest(), g.heartStands(last)
	happened := slots != last.slots
	last.slots = slots
	return happened || still
}

// digest mixes into one word, never 0, all that changes in slots when something
// happens.
func (m *abiGroup) digest() uint64 {
	sum := uint64(1)
	mix := func(words ...uint64) {
		for _, word := range words {
			sum = (sum ^ word) * 0x9e3779b97f4a7c15 // odd: no two values of a word give one sum
			sum ^= sum >> 29                        // nor do high bits get lost
		}
	}
	for i := range m.used() {
		slot, info := &m.Slot[i], &m.Info[i]
		cookie := atomic.LoadUint64(&slot.Cookie)
		if cookie == 0 && atomic.LoadUint64(&slot.Counts)<<32 == 0 {
			continue
		}
		mix(uint64(i), cookie, atomic.LoadUint64(&slot.Picks), atomic.LoadUint64(&slot.Counts),
			uint64(atomic.LoadUint32(&slot.Scale)), atomic.LoadUint64(&info.Opened),
			uint64(atomic.LoadUint32(&info.State))<<32|uint64(atomic.LoadUint32(&info.Hold)))
	}
	return max(sum, 1)
}

// used is how many slots may be in use: those above have never been since the
// tables were last computed.
func (m *abiGroup) used() int {
	return min(int(atomic.LoadUint32(&m.Blocks))*blockSlots, MaxSlots)
}

// heartStands tells whether a worker that gets connections shows the same beat as
// at the last glance.
func (g *Group) heartStands(last *Glance) (stands bool) {
	m := g.memory.value
	for i := range m.used() {
		beat := uint64(0)
		info := &m.Info[i]
		if atomic.LoadUint32(&info.Reports) != 0 && State(atomic.LoadUint32(&info.State)) == Live && atomic.LoadUint32(&info.Hold) == 0 {
			beat = atomic.LoadUint64(&g.load.value.Slot[i].Beat)
		}
		stands = stands || beat != 0 && beat == last.beats[i]
		last.beats[i] = beat
	}
	return stands
}
