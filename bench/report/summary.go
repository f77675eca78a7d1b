package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/sockdist/sockdist/bench/result"
)

// Markdown writes the short table: sockdist beside the best of the others with
// the same app, and beside plain reuseport, by the metric that decides. Losing
// cases come first, and are bold.
func Markdown(w io.Writer, r *result.Results) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s; %s.\n\n", introduction(r), method(r), trusted(r))
	b.WriteString("| case | metric | sockdist | × best other | × plain reuseport |\n|---|---|---|---|---|\n")
	for _, g := range losersFirst(glances(r)) {
		b.WriteString(g.line())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// introduction is where and when.
func introduction(r *result.Results) string {
	m := r.Machine
	return fmt.Sprintf("Linux %s, %s, %s, %s", m.Kernel, m.CPU, many(m.CPUs, "CPU"), r.Started.UTC().Format("2006-01-02"))
}

func method(r *result.Results) string {
	if r.Repeat < 2 {
		return "one round: ratios without an interval, which tell nothing for sure"
	}
	return fmt.Sprintf("medians of %d rounds, ratios within a round with their %s %% interval", r.Repeat, percent(result.Coverage(r.Repeat)))
}

// trusted is what the harness found out about itself.
func trusted(r *result.Results) string {
	switch {
	case len(r.Trust.Checks) == 0:
		return "**the harness was not checked against theory in this run**"
	case r.Trust.Noisy:
		return fmt.Sprintf("**this machine was too noisy: a check is off by more than %s %%**", percent(r.Trust.Tolerance))
	default:
		return fmt.Sprintf("queues that theory knows came out within %s %%", percent(r.Trust.Tolerance))
	}
}

func (g *glance) line() string {
	cells := []string{g.c.Name, heading(g.metric), g.own(), g.best.text(), g.plain.text()}
	for i := range cells {
		cells[i] = escaped(cells[i])
	}
	cells[3], cells[4] = g.best.bold(cells[3]), g.plain.bold(cells[4])
	return "| " + strings.Join(cells, " | ") + " |\n"
}

// own is who stands for sockdist, and its figure.
func (g *glance) own() string {
	f, ok := g.row.Figures[g.metric.Name]
	if !ok {
		return g.row.Contender + ": " + strings.Join(append(troubles(g.row), missing(g.row))[:1], "")
	}
	text := fmt.Sprintf("%s: %s %s", g.row.Contender, number(f.Median), span(f.Low, f.High))
	if lost := failed(g.row); lost != "" {
		text += ", " + lost
	}
	return strings.TrimSpace(text)
}

func (p peer) text() string {
	if p.name == "" || p.ratio == nil {
		return "–"
	}
	text := fmt.Sprintf("%s of %s", ratioSpan(*p.ratio), p.name)
	if word := mark(p.ratio); word != "" {
		text += ", " + word
	}
	return text
}

func (p peer) bold(text string) string {
	if p.won() {
		return "**" + text + "**"
	}
	return text
}

// escaped keeps text within its cell of a table.
func escaped(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`).Replace(oneLine(text))
}
