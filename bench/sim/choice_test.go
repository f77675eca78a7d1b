//go:build cgo

package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// A history is a group to which anything happens, and what it should know.
type history struct {
	*group
	*rand.Rand
	scale   []uint32 // 0: held back, or dead
	load    []int
	places  []place // of established connections
	pending []handshake
	now     int64
}

type handshake struct {
	place
	began int64
}

func newHistory(seed uint64, weights []int, reporting bool) *history {
	c, _ := newGroup(0, weights, reporting)
	return &history{group: c.(*group), Rand: rand.New(rand.NewPCG(seed, 0)), scale: scales(weights), load: make([]int, len(weights))}
}

// held is the slot's connections and pending picks.
func (h *history) held(slot int) int {
	s := &h.state.slot[slot]
	return int(uint32(s.counts)) + max(int(int32(uint32(s.picks)-uint32(s.counts>>32))), 0)
}

func (h *history) score(slot int) uint64 {
	return uint64(h.held(slot)+h.load[slot]) * uint64(h.scale[slot])
}

// lowest is the score that a pick should have, by looking at all.
func (h *history) lowest() uint64 {
	least := uint64(math.MaxUint64)
	for slot, scale := range h.scale {
		if scale > 0 {
			least = min(least, h.score(slot))
		}
	}
	return least
}

func (h *history) check(t *testing.T, what string, want, got uint64, slot int) {
	t.Helper()
	if h.scale[slot] == 0 || got != want {
		t.Fatalf("%s got slot %d (scale %d) of score %d; the least is %d", what, slot, h.scale[slot], got, want)
	}
}

// takeOne removes a random one of a list.
func takeOne[T any](h *history, list *[]T) T {
	i := h.IntN(len(*list))
	p := (*list)[i]
	(*list)[i] = (*list)[len(*list)-1]
	*list = (*list)[:len(*list)-1]
	return p
}

func (h *history) pickOne(t *testing.T) {
	scores := h.scores()
	want := h.lowest()
	p := h.pick(h.now, h.Uint32())
	h.check(t, "a pick", want, scores[p.slot], p.slot)
	h.pending = append(h.pending, handshake{p, h.now})
}

func (h *history) scores() (all []uint64) {
	for slot := range h.scale {
		all = append(all, h.score(slot))
	}
	return all
}

// crash closes a listener, moves what is in its queue, and has it come back.
func (h *history) crash(t *testing.T, slot int) {
	h.dies(slot)
	scale := h.scale[slot]
	h.scale[slot] = 0
	for i, p := range h.places {
		if p != (place{slot, uint32(h.state.info[slot].generation)}) {
			continue
		}
		scores, want := h.scores(), h.lowest()
		h.places[i] = h.moves(h.now, p, h.Uint32())
		h.check(t, "a move", want, scores[h.places[i].slot], h.places[i].slot)
	}
	if n := h.state.slot[slot].counts & math.MaxUint32; n != 0 {
		t.Fatalf("slot %d is left with %d connections", slot, n)
	}
	h.scale[slot] = scale
	h.load[slot] = 0
	h.joins(slot)
}

func (h *history) step(t *testing.T, reporting, crashes bool) {
	slot := h.IntN(len(h.scale))
	switch x := h.IntN(100); {
	case x < 45:
		h.pickOne(t)
	case x < 65 && len(h.pending) > 0:
		p := takeOne(h, &h.pending)
		h.places = append(h.places, h.opens(h.now, p.place, h.now-p.began, h.Uint32()))
	case x < 90 && len(h.places) > 0:
		h.closes(takeOne(h, &h.places))
	case x < 94 && reporting:
		h.load[slot] = h.IntN(6)
		h.publish(slot, h.load[slot])
	case x < 95 && len(h.pending) > 0:
		takeOne(h, &h.pending) // its handshake never ends
	case x < 96:
		h.now += h.Int64N(3e8)
		h.passTime(h.now)
	case x < 97 && crashes && len(h.scale) > 1:
		h.crash(t, slot)
	}
}

// Whatever went before: least picks a slot of which none has a lower score.
func TestLeastIsLeast(t *testing.T) {
	for _, weights := range [][]int{{100}, {100, 100}, {100, 200, 300}, {70, 110, 130, 500, 1000, 3, 100, 100, 100}} {
		for _, slots := range []int{1, 7, 8, 9, 64, 65, 256} {
			for _, reporting := range []bool{false, true} {
				t.Run(fmt.Sprint(slots, weights, reporting), func(t *testing.T) {
					t.Parallel()
					all := (&Scenario{Workers: slots, Speeds: weights, Weighed: true}).weights()
					h := newHistory(1, all, reporting)
					for range 5000 {
						h.step(t, reporting, true)
					}
				})
			}
		}
	}
}

// chiSquare is how far counts are from equal ones.
func chiSquare(counts []int) (x float64) {
	sum := 0
	for _, n := range counts {
		sum += n
	}
	expected := float64(sum) / float64(len(counts))
	for _, n := range counts {
		x += (float64(n) - expected) * (float64(n) - expected) / expected
	}
	return x
}

// unlikely is a bound that a chi-square with so many degrees of freedom exceeds
// once in a million times or less (Laurent and Massart, 2000).
func unlikely(freedom int) float64 {
	const x = 14 // -ln(10^-6)
	return float64(freedom) + 2*math.Sqrt(float64(freedom)*x) + 2*x
}

// Of slots that tie, each is as likely as any other: of idle ones, and of those that hold one.
func TestTiesAreUniform(t *testing.T) {
	for _, slots := range []int{2, 3, 8, 20, 64, 100, 256} {
		h := newHistory(2, (&Scenario{Workers: slots}).weights(), false)
		for held := range 2 {
			counts := make([]int, slots)
			for range 400 * slots {
				p := h.opens(0, h.pick(0, h.Uint32()), 0, 0)
				counts[p.slot]++
				h.closes(p)
			}
			if x := chiSquare(counts); x > unlikely(slots-1) {
				t.Errorf("%d slots that hold %d: chi-square %.0f", slots, held, x)
			}
			for range slots {
				h.opens(0, h.pick(0, h.Uint32()), 0, 0)
			}
		}
	}
}

// A pick whose handshake never ends weighs for an epoch or two, and then no more.
func TestPendingExpires(t *testing.T) {
	h := newHistory(3, []int{100, 100}, false)
	for range 10 {
		h.pick(0, h.Uint32())
	}
	for epoch := range int64(3) {
		h.pick((epoch+1)*1_000_000_000, h.Uint32())
	}
	if n := h.held(0) + h.held(1); n > 2 {
		t.Errorf("%d picks are pending after three epochs, of which the last had 1 and the one before 1", n)
	}
}
