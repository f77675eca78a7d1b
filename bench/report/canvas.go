package report

import (
	"bytes"
	"fmt"
	"html/template"
	"image/color"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// faint is a grid's colour, on dark and light.
var faint = color.NRGBA{0x88, 0x88, 0x88, 0x55}

// room is how much wider than in the plot's own font text may be: the page is
// shown with whatever font there is.
const room = 1.16

// newPlot is an empty one, without a background, so that the page's shows.
func newPlot(x, y string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	p.X.Label.Text, p.Y.Label.Text = x, y
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Label.TextStyle.Font.Variant = "Sans"
		axis.Label.TextStyle.Font.Size = 11 * room
		axis.Tick.Label.Font.Variant = "Sans"
		axis.Tick.Label.Font.Size = 10 * room
		axis.Padding = 0
	}
	return p
}

// drawable tells whether values are of a size that axes can deal with. Others
// are nonsense, and in the tables.
func drawable(values ...float64) bool {
	return !slices.ContainsFunc(values, func(v float64) bool {
		size := math.Abs(v)
		return !(size <= 1e12) || size != 0 && size < 1e-9
	})
}

// ruled adds a grid; on an axis of names there is none.
func ruled(p *plot.Plot, names bool) *plot.Plot {
	lines := plotter.NewGrid()
	lines.Horizontal.Color, lines.Vertical.Color = faint, faint
	if names {
		lines.Horizontal.Color = nil
	}
	p.Add(lines)
	return p
}

// What vgsvg writes that a page has no use for: the prologue, sizes, and fonts,
// which the page's style sets.
var (
	prologue  = regexp.MustCompile(`(?s)^.*?<svg [^>]*?viewBox="([^"]*)"[^>]*>`)
	fontStyle = regexp.MustCompile(`style="font-family:[^"]*?;font-size:([0-9.]+)px[^"]*"`)
	newlines  = regexp.MustCompile(`\n\s*`)
	places    = regexp.MustCompile(` (d|x|y)="[^"]*"`)
	decimals  = regexp.MustCompile(`(\.\d)\d+`)
)

// shorter leaves to the page's style what most lines have in common. Black is
// the text's colour there.
var shorter = strings.NewReplacer(
	`style="fill:none;stroke:#878787;stroke-opacity:0.33333;stroke-width:0.25"`, `class="grid"`,
	`style="fill:none;stroke:#000000;stroke-width:0.5"`, `class="axis"`,
	`style="fill:none;stroke:#000000;stroke-width:1.4"`, `class="whisker"`,
	"stroke:#000000", "stroke:currentColor",
	` transform="scale(1, -1)"`+"\n", ` transform="scale(1,-1)" `,
)

// rounded cuts coordinates to a tenth of a point.
func rounded(attribute string) string { return decimals.ReplaceAllString(attribute, "$1") }

// svg draws a plot as an element of a page. Alt says what it shows, for those
// who don't see it.
func svg(p *plot.Plot, width, height vg.Length, alt string) template.HTML {
	canvas := vgsvg.New(width, height)
	p.Draw(draw.New(canvas))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return "" // a buffer takes everything
	}
	alt = template.HTMLEscapeString(alt)
	text := prologue.ReplaceAllString(b.String(), fmt.Sprintf(
		`<svg class="plot" role="img" aria-label="%s" viewBox="$1" style="max-width:%.0fpx"><title>%s</title>`,
		dollars(alt), width.Points()*1.4, dollars(alt)))
	text = fontStyle.ReplaceAllStringFunc(text, smaller)
	text = places.ReplaceAllStringFunc(text, rounded)
	text = shorter.Replace(text)
	text = newlines.ReplaceAllString(text, "\n")
	return template.HTML(text)
}

// dollars protects text that a regexp puts in.
func dollars(text string) string { return regexp.MustCompile(`\$`).ReplaceAllString(text, "$$$$") }

// smaller gives text the size that it was to have before it got room.
func smaller(style string) string {
	size, err := strconv.ParseFloat(fontStyle.FindStringSubmatch(style)[1], 64)
	if err != nil {
		return style
	}
	return fmt.Sprintf(`font-size="%.3g"`, size/room)
}
