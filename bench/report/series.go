package report

import (
	"fmt"
	"html/template"
	"maps"
	"slices"

	"gonum.org/v1/plot/plotter"

	"github.com/sockdist/sockdist/bench/result"
)

// throughTime are the series of a case: for each of their values a plot.
func throughTime(c *result.CaseResult, strokes map[string]stroke) (plots []template.HTML) {
	for _, value := range seriesOf(c) {
		p := ruled(newPlot("second", value), false)
		lines, last := 0, 0.0
		for i := range c.Rows {
			curve := through(first(&c.Rows[i]), value)
			if len(curve) < 2 {
				continue
			}
			p.Add(newLine(curve, strokes[c.Rows[i].Contender]))
			last = max(last, curve[len(curve)-1].X)
			lines++
		}
		if lines == 0 {
			continue
		}
		p.X.Min, p.X.Max, p.X.Tick.Marker, p.Y.Tick.Marker = 0, last, round{}, round{}
		plots = append(plots, svg(p, 520, 260, fmt.Sprintf("%s through time of %s in %s, in the first round.",
			value, many(lines, "contender"), c.Name)))
	}
	return plots
}

// seriesOf are the names of what goes through time.
func seriesOf(c *result.CaseResult) []string {
	names := map[string]bool{}
	for i := range c.Rows {
		for _, point := range first(&c.Rows[i]) {
			for name := range point.Values {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// first is the series of a row's first round that counts and has one.
func first(row *result.Row) []result.Point {
	for _, s := range row.Rounds {
		if s.Error == "" && len(s.Series) > 0 {
			return s.Series
		}
	}
	return nil
}

// through is one value of a series, with as many points as a plot can show.
func through(series []result.Point, value string) (curve plotter.XYs) {
	step := max(1, len(series)/(2*most))
	for i := 0; i < len(series); i += step {
		if v, ok := series[i].Values[value]; ok && drawable(v, series[i].Second) {
			curve = append(curve, plotter.XY{X: series[i].Second, Y: v})
		}
	}
	return curve
}
