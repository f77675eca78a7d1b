package load

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

func random() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// The variance of a bounded Pareto is that of the whole one's formula, cut off.
func TestDistributionsHaveMeanOne(t *testing.T) {
	second := paretoAlpha / (2 - paretoAlpha) * (math.Pow(paretoMax, 2-paretoAlpha) - 1) / paretoBelow / paretoMean / paretoMean
	tests := map[Distribution]struct{ variance, tolerance float64 }{
		Fixed:       {0, 0},
		Exponential: {1, 0.02},
		Bimodal:     {2.25, 0.02},
		HeavyTailed: {second - 1, 0.1 * second},
	}
	for d, want := range tests {
		r, n := random(), 2_000_000
		var sum, squares float64
		for range n {
			x := d.Draw(r)
			sum, squares = sum+x, squares+x*x
		}
		mean := sum / float64(n)
		if variance := squares/float64(n) - mean*mean; math.Abs(mean-1) > 0.02 || math.Abs(variance-want.variance) > want.tolerance {
			t.Errorf("%s: mean %.3f, not 1; variance %.3f, not %.3f", d, mean, variance, want.variance)
		}
	}
	if len(tests) != len(Distributions) {
		t.Errorf("there are %d distributions", len(Distributions))
	}
}

func TestPoisson(t *testing.T) {
	all := Poisson(random(), 1000, 100*time.Second, Exponential, 3*time.Millisecond)
	if n := float64(len(all)); math.Abs(n-100_000) > 1500 {
		t.Errorf("%v arrivals in 100 s, not 100,000", n)
	}
	if !slices.IsSortedFunc(all, func(a, b Arrival) int { return int(a.At - b.At) }) || all[len(all)-1].At >= 100*time.Second {
		t.Error("not in order, or too late")
	}
	var gaps, service float64
	for i := range all[1:] {
		if all[i+1].At-all[i].At > time.Millisecond {
			gaps++
		}
		service += all[i].Service.Seconds()
	}
	if share := gaps / float64(len(all)); math.Abs(share-1/math.E) > 0.01 {
		t.Errorf("%.3f of the gaps are longer than their mean, not 1/e", share)
	}
	if mean := service / float64(len(all)); math.Abs(mean-0.003) > 0.0001 {
		t.Errorf("the mean service time is %v s", mean)
	}
	again := Poisson(random(), 1000, 100*time.Second, Exponential, 3*time.Millisecond)
	if !slices.Equal(all, again) {
		t.Error("the same seed gives other arrivals")
	}
	if bare := Poisson(random(), 1000, time.Second, "", 0); bare[0].Service != 0 {
		t.Errorf("service %v, where none was asked for", bare[0].Service)
	}
}

func TestHistogramSurvivesItsText(t *testing.T) {
	outcomes := []Outcome{{Latency: 1500 * time.Microsecond}, {Latency: time.Hour}, {Latency: 10}, {Latency: time.Second, Err: ErrReset}}
	h, err := hdrhistogram.Decode([]byte(Encode(Histogram(outcomes))))
	if err != nil {
		t.Fatal(err)
	}
	if h.TotalCount() != 3 || !h.ValuesAreEquivalent(h.Max(), longest.Microseconds()) || h.Min() != 1 || h.ValueAtQuantile(50) != 1500 {
		t.Errorf("%d values from %d to %d, median %d", h.TotalCount(), h.Min(), h.Max(), h.ValueAtQuantile(50))
	}
}
