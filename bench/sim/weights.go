package sim

import "math"

// What follows from weights, as loader/weights.go computes it for the programs:
// the same functions, for slots 0 … n−1.

const (
	hashRows    = 4096
	orderPlaces = 1024
	maxScale    = 1 << 27
)

// scales are the multipliers of scores; weights are 1 … 1000.
func scales(weights []int) []uint32 {
	multiple := 1
	for _, w := range weights {
		if multiple <= maxScale {
			multiple = multiple / gcd(multiple, w) * w
		}
	}
	multiple = min(multiple, maxScale)
	out := make([]uint32, len(weights))
	for i, w := range weights {
		out[i] = uint32(multiple / w)
	}
	return out
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// order is the sequence behind rr, p2c and random.
func order(weights []int) []uint8 {
	divisor, sum := 0, 0
	for _, w := range weights {
		divisor, sum = gcd(divisor, w), sum+w
	}
	credit := make([]int, len(weights))
	sequence := make([]uint8, min(sum/divisor, orderPlaces))
	for turn := range sequence {
		best := 0
		for i, w := range weights {
			credit[i] += w
			if credit[i] > credit[best] {
				best = i
			}
		}
		credit[best] -= sum
		sequence[turn] = uint8(best)
	}
	return sequence
}

// rows is the table behind hash.
func rows(weights []int) (table [hashRows]uint8) {
	for row := range table {
		best, highest := 0, math.Inf(-1)
		for slot, w := range weights {
			lot := (float64(draw(row, slot)>>11) + 0.5) / (1 << 53)
			if score := -float64(w) / math.Log(lot); score > highest {
				best, highest = slot, score
			}
		}
		table[row] = uint8(best)
	}
	return table
}

func draw(row, slot int) uint64 {
	x := uint64(row*MaxWorkers+slot+1) * 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
