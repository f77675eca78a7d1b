package result

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var latency = Metric{Name: "p99", Unit: "ms"}

// row has the values as rounds; NaN is a round that failed.
func row(name string, values ...float64) Row {
	r := Row{Contender: name}
	for _, v := range values {
		s := Sample{Values: map[string]float64{"p99": v}}
		if math.IsNaN(v) {
			s = Sample{Error: "it broke", Values: map[string]float64{"p99": 1e6}}
		}
		r.Rounds = append(r.Rounds, s)
	}
	return r
}

func judged(m Metric, rows ...Row) *CaseResult {
	c := &CaseResult{Baseline: rows[0].Contender, Metrics: []Metric{m}, Rows: rows}
	c.Judge()
	return c
}

func TestVerdicts(t *testing.T) {
	failed, higher := math.NaN(), Metric{Name: "p99", Higher: true}
	five := []float64{10, 11, 12, 13, 14}
	for name, test := range map[string]struct {
		m              Metric
		base, contends []float64
		want           Ratio
	}{
		"worse":                 {latency, five, []float64{20, 22, 24, 26, 28}, Ratio{2, 2, 2, 0.9375, Worse}},
		"higher is better":      {higher, five, []float64{20, 22, 24, 26, 28}, Ratio{2, 2, 2, 0.9375, Better}},
		"better":                {latency, five, []float64{5, 5.5, 6, 3.25, 14 * 0.75}, Ratio{0.5, 0.25, 0.75, 0.9375, Better}},
		"lower is worse":        {higher, five, []float64{5, 5.5, 6, 3.25, 14 * 0.75}, Ratio{0.5, 0.25, 0.75, 0.9375, Worse}},
		"rounds disagree":       {latency, five, []float64{20, 22, 24, 26, 14}, Ratio{2, 1, 2, 0.9375, Tie}},
		"too little to matter":  {latency, []float64{1000, 1000, 1000, 1000, 1000}, []float64{1001, 1002, 1004, 1005, 1006}, Ratio{1.004, 1.001, 1.006, 0.9375, Tie}},
		"one round":             {latency, []float64{1}, []float64{3}, Ratio{3, 3, 3, 0, Tie}},
		"two rounds":            {latency, []float64{1, 1}, []float64{3, 5}, Ratio{4, 3, 5, 0.5, Worse}},
		"a failed round":        {latency, []float64{1, failed, 1, 1}, []float64{failed, 1, 3, 5}, Ratio{4, 3, 5, 0.5, Worse}},
		"fewer rounds":          {latency, []float64{1, 1, 1}, []float64{3, 3}, Ratio{3, 3, 3, 0.5, Worse}},
		"nothing over nothing":  {latency, []float64{0, 0, 0}, []float64{0, 0, 0}, Ratio{1, 1, 1, 0.75, Tie}},
		"much over nothing":     {latency, []float64{0, 0, 0}, []float64{1, 2, 3}, Ratio{Endless, Endless, Endless, 0.75, Worse}},
		"nothing over much":     {latency, []float64{1, 2, 3}, []float64{0, 0, 0}, Ratio{0, 0, 0, 0.75, Better}},
		"an infinite value":     {latency, []float64{1, 1, 1}, []float64{math.Inf(1), 2, 2}, Ratio{2, 2, 2, 0.5, Worse}},
		"nine leave out a pair": {latency, []float64{1, 1, 1, 1, 1, 1, 1, 1, 1}, []float64{100, 2, 3, 4, 5, 6, 7, 8, 0.1}, Ratio{5, 2, 8, 1 - 20.0/512, Worse}},
	} {
		c := judged(test.m, row("base", test.base...), row("contender", test.contends...))
		if got := c.Rows[1].Figures["p99"].Ratio; got == nil || *got != test.want {
			t.Errorf("%s: %+v instead of %+v", name, got, test.want)
		}
		if c.Rows[0].Figures["p99"].Ratio != nil {
			t.Errorf("%s: the baseline is compared to itself", name)
		}
	}
}

func TestNoFigure(t *testing.T) {
	c := judged(latency, row("base", 1, 2), row("failed", math.NaN(), math.NaN()), row("apart", math.NaN(), math.NaN(), 3))
	if f, ok := c.Rows[1].Figures["p99"]; ok {
		t.Errorf("a contender that failed has %+v", f)
	}
	if f := c.Rows[2].Figures["p99"]; f.Median != 3 || f.Ratio != nil {
		t.Errorf("without a round of both: %+v", f)
	}
	c.Baseline = "absent"
	c.Judge()
	if f := c.Rows[0].Figures["p99"]; f.Ratio != nil || f.Median != 1.5 {
		t.Errorf("without a baseline: %+v", f)
	}
	if c.Row("absent") != nil {
		t.Error("a row that isn't there")
	}
}

// The interval holds the true median as often as it says, whatever is drawn.
func TestCoverageHolds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const draws = 20_000
	for name, draw := range map[string]struct {
		from   func() float64
		median float64
	}{
		"uniform":     {r.Float64, 0.5},
		"exponential": {r.ExpFloat64, math.Ln2},
		"normal":      {r.NormFloat64, 0},
		"cauchy":      {func() float64 { return r.NormFloat64() / r.NormFloat64() }, 0},
	} {
		for _, n := range []int{2, 3, 5, 7, 8, 9, 15, 30} {
			held, claimed := 0, 0.0
			for range draws {
				values := make([]float64, n)
				for i := range values {
					values[i] = draw.from()
				}
				_, low, high, coverage := middle(values)
				claimed = coverage
				if low <= draw.median && draw.median <= high {
					held++
				}
			}
			if got := float64(held) / draws; math.Abs(got-claimed) > 0.015 {
				t.Errorf("%s, %d rounds: held in %.3f of the draws, claims %.3f", name, n, got, claimed)
			}
		}
	}
}

// Equal contenders are called different no more often than the coverage allows.
func TestFalseVerdicts(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const cases = 5000
	for _, n := range []int{3, 5, 9} {
		wrong := 0
		for range cases {
			a, b := make([]float64, n), make([]float64, n)
			for i := range n {
				shared := 1 + r.ExpFloat64() // what the round did to both
				a[i], b[i] = shared*(1+r.Float64()), shared*(1+r.Float64())
			}
			if judged(latency, row("a", a...), row("b", b...)).Rows[1].Figures["p99"].Ratio.Verdict != Tie {
				wrong++
			}
		}
		if got, allowed := float64(wrong)/cases, 1-coverageOf(n, LeftOut(n)); got > allowed+0.015 {
			t.Errorf("%d rounds: %.3f of equal contenders are called different, %.3f allowed", n, got, allowed)
		}
	}
}

func TestMiddleProperties(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		values := make([]float64, 1+r.IntN(40))
		for i := range values {
			values[i] = math.Round(r.NormFloat64() * 5)
		}
		before := slices.Clone(values)
		median, low, high, coverage := middle(values)
		below, above := 0, 0
		for _, v := range values {
			if v < median {
				below++
			}
			if v > median {
				above++
			}
		}
		if low > median || median > high || 2*below > len(values) || 2*above > len(values) {
			t.Fatalf("%v: %v (%v–%v)", values, median, low, high)
		}
		if len(values) >= 5 && coverage < enough {
			t.Fatalf("%d values cover %v", len(values), coverage)
		}
		if !slices.Equal(values, before) {
			t.Fatal("values were sorted in place")
		}
	}
}
