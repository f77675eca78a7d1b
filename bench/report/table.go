package report

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/bench/result"
)

// plainWidth is how many columns a table takes that isn't on a terminal.
const plainWidth = 120

// Table writes a case for a terminal: each contender's medians, intervals, and
// ratios to the baseline. Metrics that don't fit beside each other go below.
// Colour is for terminals, and NO_COLOR is respected.
func Table(w io.Writer, c *result.CaseResult) {
	width, colour := terminal(w)
	g := newGrid(c)
	fmt.Fprintf(w, "%s: %s\n", c.Name, c.Title)
	for from := 0; from < len(g.metrics); {
		to := g.fitting(from, width)
		g.write(w, from, to, colour)
		from = to
	}
	g.writeTroubles(w, colour)
	fmt.Fprintf(w, "  %s\n", legend(c))
	if c.Note != "" {
		fmt.Fprintf(w, "  %s\n", c.Note)
	}
}

// legend says what the figures are.
func legend(c *result.CaseResult) string {
	n := rounds(c)
	if n < 2 {
		return fmt.Sprintf("one round, × to %s: too little to tell better from worse", c.Baseline)
	}
	return fmt.Sprintf("median of %d rounds, × to %s in the same round, interval of the median (%s %%)",
		n, c.Baseline, percent(result.Coverage(n)))
}

// percent writes a share without the sign.
func percent(share float64) string { return fmt.Sprintf("%.4g", 100*share) }

// terminal tells how wide w is, and whether colours are welcome.
func terminal(w io.Writer) (width int, colour bool) {
	file, ok := w.(*os.File)
	if !ok {
		return plainWidth, false
	}
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return plainWidth, false
	}
	if size.Col > 0 {
		width = int(size.Col)
	} else {
		width = plainWidth
	}
	return width, os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// A cell is a metric of a row: median, interval, ratio, verdict.
type cell [4]string

// A grid is a case's table in text. Its first column is the rows' names.
type grid struct {
	c       *result.CaseResult
	name    int // width of the names
	metrics []column
}

// A column is a metric, with the width of each part of its cells.
type column struct {
	head  string
	cells []cell
	parts [4]int
}

func newGrid(c *result.CaseResult) *grid {
	g := &grid{c: c}
	for i := range c.Rows {
		g.name = max(g.name, utf8.RuneCountInString(c.Rows[i].Contender))
	}
	for _, m := range c.Metrics {
		g.metrics = append(g.metrics, newColumn(c, m))
	}
	return g
}

func newColumn(c *result.CaseResult, m result.Metric) column {
	k := column{head: heading(m)}
	for i := range c.Rows {
		text := newCell(&c.Rows[i], m)
		for part, t := range text {
			k.parts[part] = max(k.parts[part], utf8.RuneCountInString(t))
		}
		k.cells = append(k.cells, text)
	}
	if short := utf8.RuneCountInString(k.head) - k.width(); short > 0 {
		k.parts[3] += short
	}
	return k
}

func newCell(row *result.Row, m result.Metric) (text cell) {
	f, ok := row.Figures[m.Name]
	if !ok {
		return cell{missing(row)}
	}
	text = cell{number(f.Median), span(f.Low, f.High)}
	if f.Ratio != nil {
		text[2], text[3] = times(f.Ratio.Median), mark(f.Ratio)
	}
	return text
}

// missing stands where a figure would be.
func missing(row *result.Row) string {
	for _, s := range row.Rounds {
		if s.Error != "" {
			return "error"
		}
	}
	return "–"
}

// width is that of a column, without the gap before it.
func (k *column) width() int {
	return k.parts[0] + 1 + k.parts[1] + 1 + k.parts[2] + 1 + k.parts[3]
}

// gap is what is left free before a column.
const gap = 3

// fitting is how far metrics fit beside each other, one at least.
func (g *grid) fitting(from, width int) int {
	used := 2 + g.name
	for i := from; i < len(g.metrics); i++ {
		used += gap + g.metrics[i].width()
		if used > width && i > from {
			return i
		}
	}
	return len(g.metrics)
}

func (g *grid) write(w io.Writer, from, to int, colour bool) {
	line := "  " + pad("", g.name)
	for _, k := range g.metrics[from:to] {
		line += strings.Repeat(" ", gap) + pad(k.head, k.width())
	}
	fmt.Fprintln(w, strings.TrimRight(line, " "))
	for i := range g.c.Rows {
		line := "  " + pad(g.c.Rows[i].Contender, g.name)
		for _, k := range g.metrics[from:to] {
			line += strings.Repeat(" ", gap) + k.text(i, colour)
		}
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
}

// text is one cell, with its parts below those of other rows.
func (k *column) text(row int, colour bool) string {
	c := k.cells[row]
	return strings.Join([]string{
		padLeft(c[0], k.parts[0]), pad(c[1], k.parts[1]), padLeft(c[2], k.parts[2]), painted(c[3], k.parts[3], colour),
	}, " ")
}

// writeTroubles tells what a row's numbers don't.
func (g *grid) writeTroubles(w io.Writer, colour bool) {
	for i := range g.c.Rows {
		row := &g.c.Rows[i]
		for _, text := range troubles(row) {
			fmt.Fprintf(w, "  %s   %s\n", pad(row.Contender, g.name), paint(text, red, colour))
		}
	}
}

// Colours of a terminal.
const (
	red   = "31"
	green = "32"
)

func painted(verdict string, width int, colour bool) string {
	text := pad(verdict, width)
	switch result.Verdict(verdict) {
	case result.Better:
		return paint(text, green, colour)
	case result.Worse:
		return paint(text, red, colour)
	default:
		return text
	}
}

func paint(text, with string, colour bool) string {
	if !colour {
		return text
	}
	return "\033[" + with + "m" + text + "\033[0m"
}

func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
}

func padLeft(text string, width int) string {
	return strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text))) + text
}
