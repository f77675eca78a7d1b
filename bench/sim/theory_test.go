package sim

import (
	"fmt"
	"math"
	"testing"
)

// erlangC is how likely a connection has to wait in one queue for n servers of which each is busy for a share rho.
func erlangC(n int, rho float64) float64 {
	term, sum := 1.0, 0.0
	for k := range n {
		sum += term
		term *= rho * float64(n) / float64(k+1)
	}
	return term / (1 - rho) / (sum + term/(1-rho))
}

// tailMMn is how likely a connection is in M/M/n for longer than t service times.
func tailMMn(n int, rho, t float64) float64 {
	waits, drain := erlangC(n, rho), float64(n)*(1-rho)
	if math.Abs(drain-1) < 1e-9 {
		return math.Exp(-t) * (1 + waits*t)
	}
	return (1-waits)*math.Exp(-t) + waits*(drain*math.Exp(-t)-math.Exp(-drain*t))/(drain-1)
}

// quantile is where a falling tail comes down to 1−q.
func quantile(q float64, tail func(t float64) float64) float64 {
	low, high := 0.0, 1e6
	for range 100 {
		if mid := (low + high) / 2; tail(mid) > 1-q {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}

func simulate(t *testing.T, s Scenario, contender string, seed uint64) *Result {
	t.Helper()
	r, err := Simulate(t.Context(), s, contender, seed)
	needCompiler(t, err)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func needCompiler(t *testing.T, err error) {
	t.Helper()
	if err == ErrNoCompiler {
		t.Skip(err)
	}
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got/want-1) > tolerance {
		t.Errorf("%s is %.4f, but by theory %.4f", what, got, want)
	}
}

// One queue for all is M/M/n.
func TestSharedIsMMn(t *testing.T) {
	for _, n := range []int{1, 8, 64} {
		for _, load := range []float64{0.5, 0.85} {
			t.Run(fmt.Sprintf("%d, %.2f", n, load), func(t *testing.T) {
				t.Parallel()
				connections := 400_000
				if n == 1 && load > 0.8 { // a longer memory
					connections = 1_500_000
				}
				r := simulate(t, Scenario{Workers: n, Load: load, Service: "exponential", Connections: connections}, "shared", 1)
				tail := func(x float64) float64 { return tailMMn(n, load, x) }
				near(t, "mean", r.Mean(), 1+erlangC(n, load)/(float64(n)*(1-load)), 0.05)
				near(t, "p50", r.Quantile(0.5), quantile(0.5, tail), 0.05)
				near(t, "p99", r.Quantile(0.99), quantile(0.99, tail), 0.05)
			})
		}
	}
}

// One queue for one worker of a fixed service time, by Pollaczek and Khinchine.
func TestFixedIsMD1(t *testing.T) {
	r := simulate(t, Scenario{Workers: 1, Load: 0.7, Service: "fixed"}, "least", 1)
	near(t, "mean", r.Mean(), 1+0.7/2/(1-0.7), 0.05)
}

// Random is so many queues beside each other, M/M/1 each, all with the same load.
// Hash is the same with clients of a connection each, but with as much load as the
// table's rows give to each.
func TestBlindPoliciesAreManyMM1(t *testing.T) {
	const load = 0.5
	for _, policy := range []string{"random", "hash"} {
		for _, n := range []int{1, 8} {
			r := simulate(t, Scenario{Workers: n, Load: load, Service: "exponential", Connections: 250_000}, policy, 1)
			share := make([]float64, n)
			for slot := range share {
				share[slot] = 1 / float64(n)
			}
			if policy == "hash" {
				share = rowShares(n)
			}
			mean := 0.0
			for _, p := range share {
				mean += p / (1 - load*float64(n)*p)
			}
			tail := func(x float64) (sum float64) {
				for _, p := range share {
					sum += p * math.Exp(-x*(1-load*float64(n)*p))
				}
				return sum
			}
			near(t, fmt.Sprint(policy, n, ": mean"), r.Mean(), mean, 0.05)
			near(t, fmt.Sprint(policy, n, ": p99"), r.Quantile(0.99), quantile(0.99, tail), 0.05)
		}
	}
}

func rowShares(n int) []float64 {
	share := make([]float64, n)
	for _, slot := range rows((&Scenario{Workers: n}).weights()) {
		share[slot] += 1.0 / hashRows
	}
	return share
}

// Two choices among many: the mean queue of Mitzenmacher's limit.
func TestP2CIsTwoChoices(t *testing.T) {
	const load = 0.85
	r := simulate(t, Scenario{Workers: 256, Load: load, Service: "exponential", Connections: 500_000}, "p2c", 1)
	want := 0.0
	for i := 1; i < 10; i++ {
		want += math.Pow(load, math.Pow(2, float64(i))-2)
	}
	near(t, "mean", r.Mean(), want, 0.05)
}

func TestServicesHaveMeanOne(t *testing.T) {
	for _, name := range Services() {
		r := simulate(t, Scenario{Workers: 256, Load: 0.01, Service: name, Connections: 500_000}, "shared", 1)
		near(t, name, r.Mean(), 1, 0.03)
	}
}
