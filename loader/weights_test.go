package loader

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// mixes are weights of slots that serve together.
func mixes() [][]int {
	all := [][]int{
		{1}, {MaxWeight}, {1, MaxWeight}, {DefaultWeight, DefaultWeight}, {3, 7}, {999, 1000}, {997, 991},
		{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, {100, 200, 50}, {100, 33, 67}, {7, 11, 13}, {512, 243, 625},
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		mix := make([]int, 2+random.IntN(3))
		for i := range mix {
			mix[i] = 1 + random.IntN(MaxWeight)
		}
		all = append(all, mix)
	}
	return all
}

// Scores order slots as the fractions connections ÷ weight do, ties included.
func TestScalesAreExact(t *testing.T) {
	const most = 130 // connections that each slot of a pair may have
	tried := 0
	for _, mix := range mixes() {
		if commonMultiple(mix) > maxScale {
			continue
		}
		tried++
		scale := scales(mix)
		for i := range mix {
			for j := range i {
				for a := range most {
					for b := range most {
						if got, want := compare(a*int(scale[i]), b*int(scale[j])), compare(a*mix[j], b*mix[i]); got != want {
							t.Fatalf("%v: %d/%d and %d/%d compare as %d, not %d", mix, a, mix[i], b, mix[j], got, want)
						}
					}
				}
			}
		}
	}
	if tried < 30 {
		t.Errorf("only %d mixes are exact", tried)
	}
}

// Every pair of weights is exact, up to any count.
func TestScalesOfPairs(t *testing.T) {
	for v := 1; v <= MaxWeight; v++ {
		for w := 1; w <= v; w++ {
			// a·s(v) against b·s(w) is a·w against b·v exactly when s(v)·v = s(w)·w.
			s := scales([]int{v, w})
			if uint64(s[0])*uint64(v) != uint64(s[1])*uint64(w) {
				t.Fatalf("weights %d and %d: scales %v", v, w, s)
			}
		}
	}
}

// Where the common multiple is too large, a scale is off by a part in 10^5 at
// most, and no score needs more than 47 bits.
func TestScalesRounded(t *testing.T) {
	mix := []int{997, 991, 983, 977, 971, 1, MaxWeight}
	if commonMultiple(mix) <= maxScale {
		t.Fatal("the mix is exact")
	}
	for i, s := range scales(mix) {
		exact := float64(maxScale) / float64(mix[i])
		if math.Abs(float64(s)-exact)/exact > 1e-5 {
			t.Errorf("weight %d: scale %d, exactly %f", mix[i], s, exact)
		}
		if s == 0 || s > maxScale {
			t.Errorf("weight %d: scale %d", mix[i], s)
		}
	}
}

func TestScalesOfNoWeight(t *testing.T) {
	if got := scales([]int{0, 100, 0, 50}); got[0] != 0 || got[2] != 0 || got[3] != 2*got[1] || got[1] == 0 {
		t.Errorf("%v", got)
	}
	if got := scales(nil); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

func commonMultiple(weights []int) uint64 {
	multiple := uint64(1)
	for _, w := range weights {
		multiple = multiple / gcd(multiple, uint64(w)) * uint64(w)
	}
	return multiple
}

func compare(a, b int) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func numbered(n int) []int {
	slots := make([]int, n)
	for i := range slots {
		slots[i] = i
	}
	return slots
}

// In any beginning of the sequence, each slot has what its weight asks for, to within less than two turns.
func TestOrderIsSmooth(t *testing.T) {
	for _, mix := range mixes() {
		sequence, sum := order(numbered(len(mix)), mix), 0
		for _, w := range mix {
			sum += w
		}
		whole := len(sequence) < orderPlaces
		had := make([]int, len(mix))
		for turn, slot := range sequence {
			had[slot]++
			for i, w := range mix {
				share := float64(turn+1) * float64(w) / float64(sum)
				if off := math.Abs(float64(had[i]) - share); off >= 2 {
					t.Fatalf("%v: after %d turns slot %d had %d, its share is %.2f", mix, turn+1, i, had[i], share)
				}
			}
		}
		for i, w := range mix {
			if whole && had[i]*sum != w*len(sequence) {
				t.Errorf("%v: slot %d has %d of %d turns", mix, i, had[i], len(sequence))
			}
		}
	}
}

func TestOrderOfEqualsTakesTurns(t *testing.T) {
	slots := []int{3, 9, 250}
	sequence := order(slots, []int{100, 100, 100})
	if len(sequence) != 3 {
		t.Fatalf("%v", sequence)
	}
	for _, slot := range slots {
		if !slices.Contains(sequence, uint8(slot)) {
			t.Errorf("slot %d has no turn in %v", slot, sequence)
		}
	}
	if got := order(numbered(MaxSlots), repeated(DefaultWeight, MaxSlots)); len(got) != MaxSlots {
		t.Errorf("%d turns of %d slots", len(got), MaxSlots)
	}
}

func TestOrderLeavesOutTheDrained(t *testing.T) {
	if got := order([]int{1, 2, 3}, []int{0, 50, 100}); slices.Contains(got, 1) || len(got) != 3 {
		t.Errorf("%v", got)
	}
	if got := order([]int{1, 2}, []int{0, 0}); got != nil {
		t.Errorf("%v", got)
	}
	if got := order(nil, nil); got != nil {
		t.Errorf("%v", got)
	}
}

func repeated(value, n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = value
	}
	return all
}

// rowsOf counts who has how many rows.
func rowsOf(table [hashRows]uint8) (had [MaxSlots]int) {
	for _, slot := range table {
		had[slot]++
	}
	return had
}

func TestRowsFollowWeights(t *testing.T) {
	weights := []int{100, 200, 50, 0, 400}
	had, sum := rowsOf(rows(numbered(len(weights)), weights)), 750
	for slot, w := range weights {
		share := float64(hashRows*w) / float64(sum)
		if off := math.Abs(float64(had[slot]) - share); off > 5*math.Sqrt(share) {
			t.Errorf("slot %d of weight %d has %d rows, its share is %.0f", slot, w, had[slot], share)
		}
	}
	if first, again := rows(numbered(5), weights), rows(numbered(5), weights); first != again {
		t.Error("the same weights give another table")
	}
}

// A slot that goes moves its own rows and no other; one that comes takes its
// share from all.
func TestRowsMoveOnlyWhatTheyMust(t *testing.T) {
	for _, n := range []int{2, 3, 8, 50, 200} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			slots, weights := numbered(n), repeated(DefaultWeight, n)
			before := rows(slots, weights)
			goes := n / 2
			after := rows(slices.Delete(slices.Clone(slots), goes, goes+1), weights[1:])
			moved := 0
			for row, slot := range before {
				switch {
				case int(slot) == goes && after[row] == slot:
					t.Fatalf("row %d stays with slot %d, which has gone", row, goes)
				case int(slot) != goes && after[row] != slot:
					t.Fatalf("row %d moves from %d to %d", row, slot, after[row])
				case after[row] != slot:
					moved++
				}
			}
			share := float64(hashRows) / float64(n)
			if math.Abs(float64(moved)-share) > 5*math.Sqrt(share) {
				t.Errorf("%d rows move, a share is %.0f", moved, share)
			}
		})
	}
}

// A change of one weight moves rows only from or to that slot.
func TestRowsOfAChangedWeight(t *testing.T) {
	slots, weights := numbered(6), repeated(100, 6)
	before := rows(slots, weights)
	for _, weight := range []int{0, 10, 99, 101, 1000} {
		changed := slices.Clone(weights)
		changed[2] = weight
		for row, slot := range rows(slots, changed) {
			from := before[row]
			if slot == from {
				continue
			}
			if weight > 100 && slot != 2 || weight < 100 && from != 2 {
				t.Fatalf("weight %d: row %d moves from %d to %d", weight, row, from, slot)
			}
		}
	}
}
