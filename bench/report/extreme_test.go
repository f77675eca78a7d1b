package report

import (
	"io"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/sockdist/sockdist/bench/result"
)

// Whatever values a run has, it is shown, and nothing panics or goes on for ever.
func TestExtremes(t *testing.T) {
	values := []float64{0, 1, -1, 1e-300, 1e300, -1e300, math.MaxFloat64, math.SmallestNonzeroFloat64, 1e16, 1e16 + 2, 100, 101}
	r := rand.New(rand.NewPCG(1, 2))
	any := func() float64 { return values[r.IntN(len(values))] }
	for range 60 {
		c := small()
		for i := range c.Rows {
			for j := range c.Rows[i].Rounds {
				s := &c.Rows[i].Rounds[j]
				s.Values = map[string]float64{"p99": any(), "rate": any()}
				s.Series = []result.Point{{Second: 0, Values: map[string]float64{"jain": any()}}, {Second: any(), Values: map[string]float64{"jain": any()}}}
			}
		}
		c.Judge()
		run := around(5, *c)
		run.Trust.Checks = []result.Check{{Expected: any(), Measured: any()}}
		if err := Page(io.Discard, run); err != nil {
			t.Fatal(err)
		}
		if err := Markdown(io.Discard, run); err != nil {
			t.Fatal(err)
		}
		tables(io.Discard, run)
	}
}
