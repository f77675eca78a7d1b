package report

import (
	"fmt"
	"html/template"
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"

	"github.com/sockdist/sockdist/bench/result"
)

// latencies are those of all rounds of a row that count, in µs; nil if there
// are none.
func latencies(row *result.Row) *hdrhistogram.Histogram {
	var all *hdrhistogram.Histogram
	for _, s := range row.Rounds {
		h := decoded(s)
		switch {
		case h == nil:
		case all == nil:
			all = h
		default:
			all.Merge(h)
		}
	}
	return all
}

// decoded is a sample's histogram; nil if it has none, or one that is damaged.
func decoded(s result.Sample) *hdrhistogram.Histogram {
	if s.Error != "" || s.Histogram == "" {
		return nil
	}
	h, err := hdrhistogram.Decode([]byte(s.Histogram))
	if err != nil || h.TotalCount() == 0 {
		return nil
	}
	return h
}

// most is how many points a curve has at most.
const most = 80

// tail is the curve of a histogram: latency in ms against how rare it is that a
// request takes longer, in powers of ten: 2 is p99. It ends where less than
// two requests are left.
func tail(h *hdrhistogram.Histogram) (curve plotter.XYs) {
	end := min(math.Log10(float64(h.TotalCount()))-0.3, 5)
	last := math.NaN()
	for i := range most {
		y := end * float64(i) / (most - 1)
		x := float64(h.ValueAtQuantile(100*(1-math.Pow(10, -y)))) / 1000
		if x > 0 && x != last {
			curve = append(curve, plotter.XY{X: x, Y: y})
			last = x
		}
	}
	return curve
}

// percentiles are the ticks of rarity.
var percentiles = plot.ConstantTicks{
	{Value: 0, Label: "all"}, {Value: math.Log10(2), Label: "p50"}, {Value: 1, Label: "p90"},
	{Value: 2, Label: "p99"}, {Value: 3, Label: "p99.9"}, {Value: 4, Label: "p99.99"}, {Value: 5, Label: "p99.999"},
}

// cdf draws the latencies of all rows of a case; "" without any.
func cdf(c *result.CaseResult, strokes map[string]stroke) template.HTML {
	p := ruled(newPlot("latency, ms", ""), false)
	drawn := 0
	low, high := math.Inf(1), 0.0
	for i := range c.Rows {
		h := latencies(&c.Rows[i])
		if h == nil {
			continue
		}
		curve := tail(h)
		if len(curve) < 2 {
			continue
		}
		p.Add(newLine(curve, strokes[c.Rows[i].Contender]))
		low, high = min(low, float64(h.ValueAtQuantile(10))/1000), max(high, curve[len(curve)-1].X)
		drawn++
	}
	if drawn == 0 {
		return ""
	}
	p.X.Min, p.X.Max, p.Y.Min = max(low, high/1e6), high*1.05, 0
	p.X.Scale, p.X.Tick.Marker, p.Y.Tick.Marker = plot.LogScale{}, decades{}, percentiles
	return svg(p, 520, 300, fmt.Sprintf("Latency by percentile of %s in %s, on logarithmic axes. The table of this case has the numbers.",
		many(drawn, "contender"), c.Name))
}

// newLine is a curve in a contender's look.
func newLine(curve plotter.XYs, s stroke) *plotter.Line {
	return &plotter.Line{XYs: curve, LineStyle: s.style()}
}
