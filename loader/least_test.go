package loader

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// level fails the test unless the slots' connections differ by no more than one.
func (w *world) level(what string) {
	w.t.Helper()
	if shares := w.shares(); slices.Max(shares)-slices.Min(shares) > 1 {
		w.t.Errorf("%s: slots have %v", what, shares)
	}
}

func TestLeastIsExactlyEven(t *testing.T) {
	for _, slots := range []int{2, 3, 8, 64, 256} {
		t.Run(fmt.Sprint(slots), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, slots, Least)
			for i := range 400 {
				w.connect(1)
				if i%50 == 0 {
					w.level(fmt.Sprintf("after %d connections", i+1))
				}
			}
			w.level("one after the other")
			w.acceptAll()
			w.closeAll()
			w.empty("closed")
			together(16, func(int) { w.connect(25) })
			w.level("16 at once")
			w.agree("16 at once")
		})
	}
}

// Closes open places, and the next connections take those first.
func TestLeastFillsWhatCloses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 20, Least)
	w.connect(100)
	for _, worker := range []*worker{w.workers[3], w.workers[11], w.workers[12], w.workers[19]} {
		for n, e := range worker.acceptAll(t) {
			if n < worker.slot%4+1 {
				e.reset()
			}
		}
	}
	w.counts("closes are counted", 100-4-4-1-4)
	w.connect(13)
	w.even("filled up", 5)
}

// idlePicks opens and closes n connections, one after the other, over idle slots, and
// returns how many each slot got.
func (w *world) idlePicks(n int) []int {
	w.t.Helper()
	picks := func() (all []int) {
		for _, s := range w.snapshot().Slots {
			all = append(all, int(s.Picks))
		}
		return all
	}
	before := picks()
	for range n / 100 {
		for range 100 {
			for _, e := range w.connect(1) {
				e.reset()
			}
		}
		w.mu.Lock()
		w.clients = nil
		w.mu.Unlock()
		for _, e := range w.acceptAll() {
			e.close()
		}
	}
	got := picks()
	for i := range got {
		got[i] -= before[i]
	}
	return got
}

// chiSquare is how far counts are from equal ones; with the expected weights,
// how far from those.
func chiSquare(counts []int, weights ...int) (x float64) {
	total := 0
	for i := range counts {
		if len(weights) < len(counts) {
			weights = append(weights, 1)
		}
		total += weights[i]
	}
	for i, n := range counts {
		if expected := float64(sum(counts)) * float64(weights[i]) / float64(total); expected > 0 {
			x += (float64(n) - expected) * (float64(n) - expected) / expected
		}
	}
	return x
}

// unlikely is a bound that a chi-square with so many degrees of freedom exceeds
// once in a million times or less (Laurent and Massart, 2000).
func unlikely(freedom int) float64 {
	const x = 14 // -ln(10^-6)
	return float64(freedom) + 2*math.Sqrt(float64(freedom)*x) + 2*x
}

func TestTiesAreUniform(t *testing.T) {
	for _, slots := range []int{3, 20} {
		t.Run(fmt.Sprint(slots), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, slots, Least)
			n := scaled(300, 60) * slots / 100 * 100
			if got := w.idlePicks(n); chiSquare(got) > unlikely(slots-1) {
				t.Errorf("idle slots got %v of %d", got, n)
			}
			// All but the last few slots get busy, and idle again.
			w.connect(5 * slots)
			w.acceptAll()
			for _, worker := range w.workers[:slots-2] {
				for _, e := range worker.accepted {
					e.reset()
				}
			}
			w.counts("all but two are idle", 2*5)
			got := w.idlePicks(n)
			if chiSquare(got[:slots-2]) > unlikely(slots-3) || sum(got[slots-2:]) != 0 {
				t.Errorf("with the last two busy, slots got %v of %d", got, n)
			}
			w.acceptAll()
			w.closeAll()
			w.empty("closed")
			if got := w.idlePicks(n); chiSquare(got) > unlikely(slots-1) {
				t.Errorf("idle again, slots got %v of %d", got, n)
			}
		})
	}
}

// Weights are exact proportions, and 0 is nothing.
func TestLeastByWeight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, Least)
	for slot, weight := range []int{100, 200, 50, 0} {
		w.must(w.group.SetWeight(slot, weight))
	}
	for i := 1; i <= 20; i++ {
		w.connect(7)
		if got := w.shares(); !slices.Equal(got, []int{2 * i, 4 * i, i, 0}) {
			t.Fatalf("%d connections over weights 100, 200, 50, 0 went %v", 7*i, got)
		}
	}
	// Another weight holds from the next connection on.
	w.must(w.group.SetWeight(3, 100))
	w.connect(40)
	if got := w.shares(); !slices.Equal(got, []int{40, 80, 20, 40}) {
		t.Errorf("after a weight of 0 became 100: %v", got)
	}
}

// A slot that joins is as idle as it looks, at once, in whatever block it is.
func TestLeastWithNewSlots(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 8, Least)
	w.connect(8)
	w.grow(12)
	w.connect(20*10 - 8)
	w.even("over eight slots and twelve that came later", 10)
}
