package report

import (
	"fmt"
	"html/template"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/sockdist/sockdist/bench/result"
)

// bars are medians with intervals, one below the other. On a logarithmic axis,
// where a length says nothing, they are points.
type bars struct {
	figures []result.Figure // from below
	colours []color.NRGBA
	points  bool
}

// thick is half a bar.
const thick = 4.5

// Plot implements plot.Plotter.
func (b bars) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for i, f := range b.figures {
		at := y(float64(i))
		c.SetColor(b.colours[i])
		if b.points {
			c.DrawGlyph(draw.GlyphStyle{Color: b.colours[i], Radius: thick - 1, Shape: draw.CircleGlyph{}}, vg.Point{X: x(f.Median), Y: at})
		} else {
			c.Fill(rectangle(x(0), x(f.Median), at-thick, at+thick))
		}
		if f.High > f.Low {
			whisker(c, x(f.Low), x(f.High), at)
		}
	}
}

func rectangle(left, right, bottom, top vg.Length) (p vg.Path) {
	p.Move(vg.Point{X: left, Y: bottom})
	p.Line(vg.Point{X: right, Y: bottom})
	p.Line(vg.Point{X: right, Y: top})
	p.Line(vg.Point{X: left, Y: top})
	p.Close()
	return p
}

// whisker is an interval. Black is the text's colour on a page.
func whisker(c draw.Canvas, left, right, at vg.Length) {
	c.SetColor(color.Black)
	c.SetLineWidth(1.4)
	var p vg.Path
	for _, end := range []vg.Length{left, right} {
		p.Move(vg.Point{X: end, Y: at - 3})
		p.Line(vg.Point{X: end, Y: at + 3})
	}
	p.Move(vg.Point{X: left, Y: at})
	p.Line(vg.Point{X: right, Y: at})
	c.Stroke(p)
}

// barChart draws a metric of a case; "" if no row has a figure other than 0.
func barChart(c *result.CaseResult, m result.Metric, strokes map[string]stroke) template.HTML {
	b := bars{}
	var names []string
	low, high := math.Inf(1), 0.0
	for i := len(c.Rows) - 1; i >= 0; i-- {
		f, ok := c.Rows[i].Figures[m.Name]
		if !ok || !drawable(f.Low, f.Median, f.High) {
			continue
		}
		b.figures = append(b.figures, f)
		b.colours = append(b.colours, strokes[c.Rows[i].Contender].Colour)
		names = append(names, c.Rows[i].Contender)
		low, high = min(low, f.Low, f.Median), max(high, f.High, f.Median)
	}
	if len(names) == 0 || high == 0 || low < 0 {
		return ""
	}
	b.points = low > 0 && high/low > 30
	p := ruled(newPlot(axisLabel(m), ""), true)
	p.Add(b)
	p.X.Min, p.X.Max, p.X.Tick.Marker = 0, high*1.04, round{}
	if b.points {
		p.X.Min, p.X.Max = low/1.2, high*1.2
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, decades{}
	}
	p.NominalY(names...)
	p.Y.Min, p.Y.Max = -0.7, float64(len(names))-0.3
	return svg(p, 380, vg.Length(42+15*len(names)), fmt.Sprintf("%s of %s in %s, with intervals. The table of this case has the numbers.",
		title(m), many(len(names), "contender"), c.Name))
}

func axisLabel(m result.Metric) string {
	text := title(m)
	if m.Unit != "" {
		text += ", " + m.Unit
	}
	if m.Higher {
		return text + " (more is better)"
	}
	return text + " (less is better)"
}

// style is how lines are drawn.
func (s stroke) style() draw.LineStyle {
	return draw.LineStyle{Color: s.Colour, Width: s.Width, Dashes: s.Dashes}
}
