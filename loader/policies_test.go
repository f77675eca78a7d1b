package loader

import (
	"fmt"
	"slices"
	"testing"
)

// sequence opens n connections and tells which slot each got.
func (w *world) sequence(n int) (slots []int) {
	w.t.Helper()
	before := w.shares()
	for range n {
		w.connect(1)
		after := w.shares()
		for i := range after {
			if after[i] > before[i] {
				slots = append(slots, i)
			}
		}
		before = after
	}
	return slots
}

func TestP2CPicksTheBetterOfTwo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, P2C)
	w.connect(400)
	w.even("two slots", 200)
	w.grow(6)
	w.must(w.group.Drain(0))
	w.must(w.group.Drain(1))
	w.connect(1200)
	// With two choices the gap is that of log log n, whatever the number of connections.
	if rest := w.shares()[2:]; sum(rest) != 1200 || slices.Max(rest)-slices.Min(rest) > 10 {
		t.Errorf("six slots got %v of 1,200", rest)
	}
}

func TestP2CByWeight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, P2C)
	for slot, weight := range []int{100, 200, 50, 0} {
		w.must(w.group.SetWeight(slot, weight))
	}
	w.connect(700)
	for i, n := range w.shares() {
		if want := []int{200, 400, 100, 0}[i]; n < want-10 || n > want+10 {
			t.Errorf("slot %d has %d of 700, want about %d", i, n, want)
		}
	}
}

func TestRRGoesInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5, RR)
	got := w.sequence(20)
	for i := range got {
		if got[i] != (got[0]+i)%5 {
			t.Fatalf("picks went %v", got)
		}
	}
	w.must(w.group.Drain(2))
	if got := w.sequence(16); slices.Contains(got, 2) {
		t.Errorf("with slot 2 drained picks went %v", got)
	}
}

func TestRRByWeight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, RR)
	for slot, weight := range []int{100, 200, 50, 0} {
		w.must(w.group.SetWeight(slot, weight))
	}
	for round := range 10 {
		got := w.sequence(7)
		counts := make([]int, 4)
		for _, slot := range got {
			counts[slot]++
		}
		if !slices.Equal(counts, []int{2, 4, 1, 0}) {
			t.Errorf("round %d of seven went %v", round, got)
		}
	}
}

func TestRandomByWeight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, Random)
	n := scaled(2000, 700)
	w.connect(n)
	if got := w.shares(); chiSquare(got) > unlikely(3) {
		t.Errorf("equal slots got %v of %d", got, n)
	}
	w.acceptAll()
	w.closeAll()
	w.empty("closed")
	weights := []int{100, 200, 50, 0}
	for slot, weight := range weights {
		w.must(w.group.SetWeight(slot, weight))
	}
	w.connect(n)
	if got := w.shares(); chiSquare(got, weights...) > unlikely(2) || got[3] != 0 {
		t.Errorf("weights %v got %v of %d", weights, got, n)
	}
}

// Whatever the policy: who is drained gets nothing while others are there, and
// where all are, connections are still served.
func TestDrained(t *testing.T) {
	for _, policy := range Policies() {
		t.Run(policy.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 12, policy)
			for slot := range 11 {
				w.must(w.group.Drain(slot))
			}
			w.connect(50)
			if got := w.shares(); got[11] != 50 {
				t.Errorf("with all but slot 11 drained: %v", got)
			}
			if s := w.slot(4); s.State != Draining {
				t.Errorf("slot 4 is %v", s.State)
			}
			w.must(w.group.SetWeight(11, 0))
			w.connect(50)
			if s := w.snapshot(); sum(w.shares()) != 100 || s.Fallback != 50 {
				t.Errorf("with all drained: %v, %d left to the kernel", w.shares(), s.Fallback)
			}
			w.agree("all drained")
			for slot := range 11 {
				w.must(w.group.Undrain(slot))
			}
			if s := w.slot(4); s.State != Live {
				t.Errorf("slot 4 is %v again", s.State)
			}
			before := w.shares()[11]
			w.connect(50)
			if got := w.shares(); got[11] != before {
				t.Errorf("slot 11, of weight 0, got connections: %v, %d before", got, before)
			}
		})
	}
}

func TestPolicyNames(t *testing.T) {
	for _, p := range Policies() {
		if got, err := ParsePolicy(p.String()); got != p || err != nil {
			t.Errorf("%v is parsed as %v, %v", p, got, err)
		}
	}
	for _, name := range []string{"", "Least", "policy(7)", "least "} {
		if p, err := ParsePolicy(name); err == nil {
			t.Errorf("%q is %v", name, p)
		}
	}
	if got := fmt.Sprint(Policy(9), State(9), Free, Live, Draining, Gone); got != "policy(9) state(9) free live draining gone" {
		t.Error(got)
	}
}
