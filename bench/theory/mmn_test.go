package theory

import (
	"math"
	"testing"
)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > tolerance*math.Abs(want) {
		t.Errorf("%s: %v, not %v", what, got, want)
	}
}

// From tables of Erlang's C.
func TestWaits(t *testing.T) {
	tests := []struct {
		servers       int
		offered, want float64
	}{
		{1, 0.7, 0.7},
		{2, 1, 1. / 3},
		{3, 2, 4. / 9},
		{10, 8, 0.40918},
		{1000, 1, 0},
	}
	for _, test := range tests {
		q := Queue{Servers: test.servers, Rate: test.offered / 3, Service: 3}
		if got := q.Waits(); math.Abs(got-test.want) > 1e-5 {
			t.Errorf("%+v: %v, not %v", q, got, test.want)
		}
	}
}

// With one server the response is exponential.
func TestOneServer(t *testing.T) {
	for _, load := range []float64{0.01, 0.5, 0.7, 0.95} {
		q := At(1, load, 0.004)
		near(t, "load", q.Load(), load, 1e-12)
		near(t, "mean", q.Mean(), 0.004/(1-load), 1e-9)
		for _, p := range []float64{0.1, 0.5, 0.9, 0.99, 0.999} {
			near(t, "quantile", q.Quantile(p), -math.Log(1-p)*0.004/(1-load), 1e-6)
		}
	}
}

// The mean is the integral of what is exceeded, whichever of its two forms that has.
func TestMeanIsTheIntegral(t *testing.T) {
	for _, q := range []Queue{At(4, 0.7, 1), At(2, 0.5, 1), At(4, 0.75, 1), At(4, 0.75+1e-12, 1), At(16, 0.95, 1), At(8, 0.1, 1)} {
		const step = 0.001
		var sum float64
		for x := step / 2; x < 200; x += step {
			sum += q.Exceeds(x) * step
		}
		near(t, "mean", sum, q.Mean(), 1e-4)
		near(t, "exceeded by the 99th percentile", q.Exceeds(q.Quantile(0.99)), 0.01, 1e-6)
		near(t, "exceeded by nothing", q.Exceeds(0), 1, 1e-9)
	}
}
