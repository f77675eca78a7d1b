package report

import (
	"fmt"
	"math"

	"gonum.org/v1/plot"
)

// decades are ticks of a logarithmic axis, at 1, 2, 5 of each power of ten, or
// at powers alone where there are many.
type decades struct{}

// Ticks implements plot.Ticker.
func (decades) Ticks(low, high float64) (ticks []plot.Tick) {
	steps := []float64{1, 2, 5}
	if high/low > 2000 {
		steps = steps[:1]
	}
	for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high)); e++ {
		for _, step := range steps {
			if v := step * math.Pow(10, e); v >= low*0.999 && v <= high*1.001 {
				ticks = append(ticks, plot.Tick{Value: v, Label: fmt.Sprintf("%.4g", v)})
			}
		}
	}
	return ticks
}

// round are ticks of a linear axis: few, at round numbers.
type round struct{}

// Ticks implements plot.Ticker.
func (round) Ticks(low, high float64) (ticks []plot.Tick) {
	if !(high > low) {
		return nil
	}
	step := stepOf((high - low) / 4)
	for i := range 6 {
		if v := (math.Ceil(low/step) + float64(i)) * step; v <= high+step/1000 {
			ticks = append(ticks, plot.Tick{Value: v, Label: fmt.Sprintf("%.6g", v)})
		}
	}
	return ticks
}

// stepOf is the next of 1, 2, 5, 10, …
func stepOf(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, step := range []float64{1, 2, 5} {
		if step*power >= v*0.9999 {
			return step * power
		}
	}
	return 10 * power
}
