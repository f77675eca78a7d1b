package theory

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sockdist/sockdist/bench/load"
)

func TestFirstCome(t *testing.T) {
	arrivals := []load.Arrival{{At: 0, Service: 10}, {At: 1, Service: 3}, {At: 2, Service: 4}, {At: 3, Service: 1}, {At: 50, Service: 5}}
	for servers, want := range map[int][]time.Duration{
		1: {10, 12, 15, 15, 5},
		2: {10, 3, 6, 6, 5}, // the second serves 1–4, 4–8, 8–9
		9: {10, 3, 4, 1, 5},
	} {
		if got := FirstCome(arrivals, servers); !slices.Equal(got, want) {
			t.Errorf("%d servers: %v, not %v", servers, got, want)
		}
	}
}

// Over a million arrivals the recursion comes to what the formulas say.
func TestRecursionAgreesWithTheFormulas(t *testing.T) {
	for servers, tolerance := range map[int]float64{1: 0.03, 4: 0.02, 16: 0.02} {
		q := At(servers, 0.7, 0.001)
		length := duration(1e6 / q.Rate)
		got := of(FirstCome(q.arrivals(rand.New(rand.NewPCG(1, 1)), length), servers))
		if off := got.off(expected(q)); off > tolerance {
			t.Errorf("%d servers: %+v, by the formulas %+v: off by %.3f", servers, got, expected(q), off)
		}
	}
}

func TestRepresentative(t *testing.T) {
	q := At(4, 0.7, 0.020)
	arrivals := Representative(7, q, 10*time.Second)
	if off := of(FirstCome(arrivals, 4)).off(expected(q)); off > 0.04 {
		t.Errorf("the nearest of a thousand samples is off by %.3f", off)
	}
	one := of(FirstCome(q.arrivals(rand.New(rand.NewPCG(7, 0)), 10*time.Second), 4)).off(expected(q))
	t.Logf("any sample: off by %.3f", one)
	if !slices.Equal(arrivals, Representative(7, q, 10*time.Second)) {
		t.Error("the same seed gives other arrivals")
	}
}
