package loader

import (
	"math"
	"sync/atomic"
)

const (
	// DefaultWeight is the weight of a new slot.
	DefaultWeight = 100
	// MaxWeight is the highest weight; 0 drains.
	MaxWeight = 1000

	// maxScale keeps a score within 47 bits up to 2^20 connections.
	maxScale = 1 << 27
)

// scales turns weights into multipliers: connections × scale orders slots as
// connections ÷ weight does, without a division. With the least common multiple
// of the weights it is exact; only a mix of weights whose multiple exceeds 2^27
// is rounded, to a part in 10^5.
func scales(weights []int) []uint32 {
	multiple := uint64(1)
	for _, w := range weights {
		if w > 0 && multiple <= maxScale {
			multiple = multiple / gcd(multiple, uint64(w)) * uint64(w)
		}
	}
	exact := multiple <= maxScale
	if !exact {
		multiple = maxScale
	}
	out := make([]uint32, len(weights))
	for i, w := range weights {
		if w > 0 {
			out[i] = uint32(max(multiple/uint64(w), 1))
		}
	}
	return out
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// order is the sequence behind rr, p2c and random: each slot as often as its weight
// asks, and evenly spread (the smooth weighted round robin of nginx).
func order(slots []int, weights []int) []uint8 {
	divisor, sum := uint64(0), 0
	for _, w := range weights {
		divisor = gcd(divisor, uint64(w))
		sum += w
	}
	if sum == 0 {
		return nil
	}
	turns := min(sum/int(divisor), orderPlaces)
	credit := make([]int, len(slots))
	sequence := make([]uint8, turns)
	for turn := range sequence {
		best := 0
		for i, w := range weights {
			credit[i] += w
			if credit[i] > credit[best] {
				best = i
			}
		}
		credit[best] -= sum
		sequence[turn] = uint8(slots[best])
	}
	return sequence
}

// rows is the table behind hash. Each row goes to the slot that wins
// a weighted rendezvous for it (Thaler and Ravishankar, 1998), so a slot that
// comes or goes, or changes its weight, moves no row between the others.
func rows(slots []int, weights []int) (table [hashRows]uint8) {
	peers := byWeight(slots, weights)
	for row := range table {
		best, bestScore := 0, math.Inf(-1)
		for weight, slots := range peers {
			slot, lot := highestLot(row, slots)
			if score := -float64(weight) / math.Log(lot); score > bestScore || score == bestScore && slot < best {
				best, bestScore = slot, score
			}
		}
		table[row] = uint8(best)
	}
	return table
}

// byWeight leaves out who weighs nothing.
func byWeight(slots []int, weights []int) map[int][]int {
	peers := make(map[int][]int)
	for i, weight := range weights {
		if weight > 0 {
			peers[weight] = append(peers[weight], slots[i])
		}
	}
	return peers
}

// highestLot is who wins a row among slots of one weight: it takes no logarithm to tell.
func highestLot(row int, slots []int) (best int, highest float64) {
	var most uint64
	for _, slot := range slots {
		if x := draw(row, slot); x >= most {
			best, most = slot, x
		}
	}
	return best, (float64(most>>11) + 0.5) / (1 << 53)
}

// draw is a number, always the same for the same row and slot (the mixer of SplitMix64; Steele, Lea and Flood, 2014).
func draw(row, slot int) uint64 {
	x := uint64(row*MaxSlots+slot+1) * 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// reweigh computes all that depends on who is in the group and at what weight,
// and stores it where the programs read it. The lock must be held. If the
// process is killed in the middle, the next that has the lock does it again.
func (m *abiGroup) reweigh() {
	atomic.StoreUint32(&m.Changing, 1)
	defer atomic.StoreUint32(&m.Changing, 0)
	var slots, weights []int
	highest := 0
	for i := range m.Info {
		if State(atomic.LoadUint32(&m.Info[i].State)) == Free {
			continue
		}
		slots, weights = append(slots, i), append(weights, int(m.Info[i].Weight))
		highest = i
	}
	atomic.StoreUint32(&m.Blocks, uint32(highest/blockSlots+1))
	m.Rows = rows(slots, weights)
	m.setOrder(order(slots, weights))
	for n, scale := range scales(weights) {
		info := &m.Info[slots[n]]
		if State(atomic.LoadUint32(&info.State)) != Live || info.Hold != 0 {
			scale = 0
		}
		atomic.StoreUint32(&m.Slot[slots[n]].Scale, scale)
	}
	m.forgetHints()
}

// setOrder keeps every place valid at every moment: the programs read on.
func (m *abiGroup) setOrder(sequence []uint8) {
	if len(sequence) < int(m.Turns) {
		atomic.StoreUint32(&m.Turns, uint32(len(sequence)))
	}
	copy(m.Order[:], sequence)
	atomic.StoreUint32(&m.Turns, uint32(len(sequence)))
}

// forgetHints makes the next pick read every slot: to be called when a score may have fallen.
func (m *abiGroup) forgetHints() {
	for b := range m.Hint {
		atomic.AddUint32(&m.Seq[b], 1)
		atomic.StoreUint64(&m.Hint[b], 0)
	}
}
