package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/sockdist/sockdist/internal/ledger"
)

// A table is the result of a part.
type table struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	Rows  []*row `json:"rows"`
	// heads and cells are what is printed of a row.
	heads []string
	cells func(*row) []string
}

// A row is what a contender came to, over all of its rounds.
type row struct {
	Contender string `json:"contender"`
	// Slow is the median over the rounds of the share, 0 to 1, of connections
	// that waited longer than 1 s, and Low and High the extremes. Only of stall.
	Slow float64 `json:"slow_share"`
	Low  float64 `json:"slow_share_low"`
	High float64 `json:"slow_share_high"`
	// P99 and Max are medians over the rounds, in ms.
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
	// Faults is how often something was broken.
	Faults int `json:"faults"`
	// Failed is why the contender didn't get through: the rest is until then.
	Failed string `json:"failed,omitempty"`
	// Rounds are the books.
	Rounds []*ledger.Report `json:"rounds"`

	shares, p99s, maxima []float64
}

func (r *row) add(report *ledger.Report, share, p99, most float64, faults int) {
	r.Rounds = append(r.Rounds, report)
	r.shares, r.p99s, r.maxima = append(r.shares, share), append(r.p99s, p99), append(r.maxima, most)
	r.Faults += faults
	r.Slow, r.P99, r.Max = median(r.shares), median(r.p99s), median(r.maxima)
	r.Low, r.High = slices.Min(r.shares), slices.Max(r.shares)
}

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

// count adds up a column over the rounds.
func (r *row) count(c ledger.Column) (n int) {
	for _, round := range r.Rounds {
		n += round.Columns[c].Connections
	}
	return n
}

func (r *row) connections() (n int) {
	for _, round := range r.Rounds {
		n += round.Connections()
	}
	return n
}

// remarks are what must be known of the rounds beside their figures.
func (r *row) remarks() (lines []string) {
	if r.Failed != "" {
		lines = append(lines, fmt.Sprintf("%s failed after %d faults: %s", r.Contender, r.Faults, r.Failed))
	}
	for i, round := range r.Rounds {
		if len(round.Balance.Faults) > 0 || round.Late > 0 || round.Unopened > 0 {
			lines = append(lines, fmt.Sprintf("%s, round %d: %s", r.Contender, i+1, round.Verdict()))
		}
	}
	return lines
}

func (t *table) write(w io.Writer) error {
	fmt.Fprintf(w, "%s\n%s\n\n", strings.ToUpper(t.Name), t.Title)
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, strings.Join(t.heads, "\t"))
	var remarks []string
	for _, r := range t.Rows {
		fmt.Fprintln(out, strings.Join(append([]string{r.Contender}, t.cells(r)...), "\t"))
		remarks = append(remarks, r.remarks()...)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	for _, line := range remarks {
		fmt.Fprintln(w, "!", line)
	}
	_, err := fmt.Fprintln(w)
	return err
}

// lossHeads and lossCells show the columns of the ledger.
var lossHeads = []string{"contender", "faults", "connections", "refused", "reset before accept", "reset after accept", "timed out", "wrong", "p99 ms", "max ms"}

func lossCells(r *row) []string {
	cells := []string{fmt.Sprint(r.Faults), fmt.Sprint(r.connections())}
	for c := ledger.Refused; c <= ledger.Wrong; c++ {
		cells = append(cells, fmt.Sprint(r.count(c)))
	}
	return append(cells, fmt.Sprintf("%.1f", r.P99), fmt.Sprintf("%.0f", r.Max))
}
