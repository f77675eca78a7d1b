package report

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"

	"github.com/sockdist/sockdist/bench/result"
)

// A heatTable is a metric's ratio in all cases of a workload with the same
// number of workers.
type heatTable struct {
	Workers       string
	Metric        string
	Baseline      string
	Distributions []heatHead
	Loads         []string // of all columns
	Rows          []heatRow
}

type heatHead struct {
	Name string
	Span int
}

type heatRow struct {
	Contender string
	Ours      bool
	Cells     []heatCell
}

// A heatCell is one ratio, the redder the worse.
type heatCell struct {
	Text, Title string
	Class       string
	Style       template.CSS
}

// heatTables are those of a workload whose cases are named by coordinates, each
// of the cases with the same number of workers and the same baseline; nil for
// others.
func heatTables(cases []*result.CaseResult, metric string, s sides) (tables []heatTable) {
	if len(cases) < few {
		return nil
	}
	type key struct{ workers, baseline string }
	var order []key
	by := map[key][]*result.CaseResult{}
	for _, c := range cases {
		at, ok := newCoordinates(c)
		if !ok {
			return nil
		}
		k := key{at.workers, c.Baseline}
		if by[k] == nil {
			order = append(order, k)
		}
		by[k] = append(by[k], c)
	}
	for _, k := range order {
		tables = append(tables, newHeatTable(k.workers, newField(by[k]), metric, s))
	}
	return tables
}

// A field is cases by distribution and load. Where contenders were compared in
// several cases, all of them belong to one spot.
type field struct {
	spots []spot
	at    map[spot][]*result.CaseResult
	names []string // of contenders but the baseline
}

type spot struct{ distribution, load string }

func newField(cases []*result.CaseResult) (f field) {
	f.at = map[spot][]*result.CaseResult{}
	for _, c := range cases {
		k, _ := newCoordinates(c)
		here := spot{k.distribution, k.load}
		if f.at[here] == nil {
			f.spots = append(f.spots, here)
		}
		f.at[here] = append(f.at[here], c)
		for i := range c.Rows {
			if name := c.Rows[i].Contender; name != c.Baseline && !slices.Contains(f.names, name) {
				f.names = append(f.names, name)
			}
		}
	}
	f.gather()
	return f
}

// gather puts the spots of each distribution together, in the order in which
// distributions came.
func (f *field) gather() {
	var order []string
	for _, here := range f.spots {
		if !slices.Contains(order, here.distribution) {
			order = append(order, here.distribution)
		}
	}
	slices.SortStableFunc(f.spots, func(a, b spot) int {
		return slices.Index(order, a.distribution) - slices.Index(order, b.distribution)
	})
}

// find is the contender's row at a spot, and its case.
func (f *field) find(here spot, name string) (*result.CaseResult, *result.Row) {
	for _, c := range f.at[here] {
		if row := c.Row(name); row != nil {
			return c, row
		}
	}
	return nil, nil
}

func newHeatTable(workers string, f field, metric string, s sides) heatTable {
	any := f.at[f.spots[0]][0]
	t := heatTable{Workers: workers, Metric: metric, Baseline: any.Baseline}
	for _, here := range f.spots {
		if n := len(t.Distributions); n == 0 || t.Distributions[n-1].Name != here.distribution {
			t.Distributions = append(t.Distributions, heatHead{Name: here.distribution})
		}
		t.Distributions[len(t.Distributions)-1].Span++
		t.Loads = append(t.Loads, here.load)
	}
	for _, name := range f.names {
		row := heatRow{Contender: name, Ours: s.ours(any, name)}
		for _, here := range f.spots {
			c, found := f.find(here, name)
			row.Cells = append(row.Cells, newHeatCell(c, found, metric))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func newHeatCell(c *result.CaseResult, row *result.Row, metric string) heatCell {
	switch {
	case row == nil:
		return heatCell{Text: "·", Title: "not in this case"}
	case row.Figures[metric].Ratio == nil:
		return heatCell{Text: missing(row), Class: "missing", Title: strings.Join(troubles(row), "; ")}
	}
	r := *row.Figures[metric].Ratio
	title := fmt.Sprintf("%s: %s %s", c.Name, ratioSpan(r), mark(&r))
	return heatCell{factor(r.Median), title, mark(&r), heat(r.Median)}
}

// heat is a background: red from 1 upwards, green below, as strong as the
// distance; full at a factor of 8.
func heat(ratio float64) template.CSS {
	strength := min(math.Abs(math.Log(max(ratio, 1e-9)))/math.Log(8), 1)
	colour := "224,49,49"
	if ratio < 1 {
		colour = "47,158,68"
	}
	return template.CSS(fmt.Sprintf("background:rgba(%s,%.2f)", colour, 0.7*strength))
}
