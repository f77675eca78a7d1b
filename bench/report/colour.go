package report

import (
	"fmt"
	"image/color"

	"gonum.org/v1/plot/vg"

	"github.com/sockdist/sockdist/bench/result"
)

// A stroke is how a contender's lines look. Colours are of a middle tone, for
// dark and light pages; who can't tell them apart goes by the dashes.
type stroke struct {
	Colour color.NRGBA
	Dashes []vg.Length
	Width  vg.Length
}

// dashes come in turn where there are more lines than colours.
var dashes = [][]vg.Length{nil, {6, 3}, {2, 2}, {8, 3, 2, 3}, {12, 4}}

// warm colours are sockdist's, cold ones the others'.
var (
	warm = []color.NRGBA{hex(0xe8590c), hex(0xe03131), hex(0xf08c00), hex(0xd6336c), hex(0xb7791f)}
	cold = []color.NRGBA{hex(0x1c7ed6), hex(0x2f9e44), hex(0x7048e8), hex(0x0c8599), hex(0x868e96), hex(0x66a80f)}
)

func hex(rgb uint32) color.NRGBA {
	return color.NRGBA{uint8(rgb >> 16), uint8(rgb >> 8), uint8(rgb), 0xff}
}

// strokes gives each row of a case its own.
func strokes(c *result.CaseResult, s sides) map[string]stroke {
	all := map[string]stroke{}
	var warms, colds int
	for i := range c.Rows {
		name := c.Rows[i].Contender
		if s.ours(c, name) {
			all[name] = stroke{warm[warms%len(warm)], dashes[warms/len(warm)%len(dashes)], 2}
			warms++
		} else {
			all[name] = stroke{cold[colds%len(cold)], dashes[colds/len(cold)%len(dashes)], 1.4}
			colds++
		}
	}
	return all
}

// CSS is the colour for a page.
func (s stroke) CSS() string { return fmt.Sprintf("#%02x%02x%02x", s.Colour.R, s.Colour.G, s.Colour.B) }

// DashArray is the dashes for a page; "" for a line without gaps.
func (s stroke) DashArray() string {
	text := ""
	for _, d := range s.Dashes {
		text += fmt.Sprintf("%g ", d.Points())
	}
	return text
}
