package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// A table is an answer.
type table interface {
	write(out io.Writer, part string) error
}

// A comparison is what came of a question. All times are in milliseconds.
type comparison struct {
	Title   string         `json:"title"`
	Workers int            `json:"workers"`
	Rows    []*comparedRow `json:"rows"`
	kinds   []kind
	picks   bool
}

// A comparedRow is one reporter. Figures are medians over the rounds; ratios are
// medians of the ratios to the first row's figure of the same round.
type comparedRow struct {
	Reporter string             `json:"reporter"`
	Requests int                `json:"requests"` // of all rounds
	Mean     figure             `json:"mean_ms"`
	P50      figure             `json:"p50_ms"`
	P99      figure             `json:"p99_ms"`
	Max      figure             `json:"max_ms"`
	Busiest  figure             `json:"busiest"` // the busiest worker's requests, × the mean
	Pick     *figure            `json:"pick_ns,omitempty"`
	ByKind   map[string]*figure `json:"p99_ms_by_kind"`

	samples []sample
}

// A figure is of several rounds.
type figure struct {
	Median float64 `json:"median"`
	Ratio  float64 `json:"ratio"` // to that of the first row
	Low    float64 `json:"low"`   // extremes of the ratio
	High   float64 `json:"high"`
}

func newComparison(q question) *comparison {
	c := &comparison{Title: q.title, Workers: q.workers, kinds: q.kinds, picks: q.picks}
	for _, r := range q.reporters {
		c.Rows = append(c.Rows, &comparedRow{Reporter: r.name, ByKind: make(map[string]*figure)})
	}
	return c
}

// conclude turns samples into figures.
func (c *comparison) conclude() {
	base := c.Rows[0].samples
	for _, r := range c.Rows {
		of := func(value func(sample) float64) figure { return newFigure(r.samples, base, value) }
		for _, s := range r.samples {
			r.Requests += s.requests
		}
		r.Mean = of(func(s sample) float64 { return s.mean })
		r.P50 = of(func(s sample) float64 { return s.p50 })
		r.P99 = of(func(s sample) float64 { return s.p99 })
		r.Max = of(func(s sample) float64 { return s.most })
		r.Busiest = of(func(s sample) float64 { return s.busiest })
		if c.picks {
			f := of(func(s sample) float64 { return s.pick })
			r.Pick = &f
		}
		for _, k := range c.kinds {
			f := of(func(s sample) float64 { return s.byKind[k.name] })
			r.ByKind[k.name] = &f
		}
	}
}

func newFigure(samples, base []sample, value func(sample) float64) (f figure) {
	var values, ratios []float64
	for i, s := range samples {
		values = append(values, value(s))
		if against := value(base[i]); against > 0 {
			ratios = append(ratios, value(s)/against)
		}
	}
	f.Median = median(values)
	if len(ratios) > 0 {
		f.Ratio, f.Low, f.High = median(ratios), slices.Min(ratios), slices.Max(ratios)
	}
	return f
}

// text is the median, and how it compares.
func (f figure) text(digits int, first bool) string {
	text := fmt.Sprintf("%.*f", digits, f.Median)
	switch {
	case first:
	case f.Low == f.High:
		text += fmt.Sprintf("  ×%.2f", f.Ratio)
	default:
		text += fmt.Sprintf("  ×%.2f (%.2f–%.2f)", f.Ratio, f.Low, f.High)
	}
	return text
}

func (c *comparison) write(out io.Writer, part string) error {
	fmt.Fprintf(out, "%s, %d workers: %s\n", strings.ToUpper(part), c.Workers, c.Title)
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	heads := []string{"", "mean ms", "p50 ms", "p99 ms"}
	var kinds []string
	if len(c.kinds) > 1 {
		for _, k := range c.kinds {
			kinds = append(kinds, k.name)
			heads = append(heads, "p99 of "+k.name)
		}
	}
	if c.picks {
		heads = append(heads, "a pick, ns")
	}
	fmt.Fprintln(w, strings.Join(heads, "\t"))
	for i, r := range c.Rows {
		cells := []string{r.Reporter, r.Mean.text(2, i == 0), r.P50.text(2, i == 0), r.P99.text(1, i == 0)}
		for _, name := range kinds {
			cells = append(cells, r.ByKind[name].text(1, i == 0))
		}
		if c.picks {
			cells = append(cells, r.Pick.text(0, i == 0))
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out)
	return err
}

// busiest is the most that a worker got, × the mean of so many workers.
func busiest(requests map[string]int, workers int) float64 {
	sum, most := 0, 0
	for n := range maps.Values(requests) {
		sum, most = sum+n, max(most, n)
	}
	if sum == 0 {
		return 0
	}
	return float64(most) * float64(workers) / float64(sum)
}
