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
	Style       template.CSS
}

// heatTables are those of a workload whose cases are named by coordinates; nil
// for others.
func heatTables(cases []*result.CaseResult, metric string, s sides) (tables []heatTable) {
	if len(cases) < few {
		return nil
	}
	var sizes []string
	by := map[string][]*result.CaseResult{}
	for _, c := range cases {
		k, ok := newCoordinates(c)
		if !ok {
			return nil
		}
		if by[k.workers] == nil {
			sizes = append(sizes, k.workers)
		}
		by[k.workers] = append(by[k.workers], c)
	}
	for _, size := range sizes {
		tables = append(tables, newHeatTable(size, by[size], metric, s))
	}
	return tables
}

func newHeatTable(size string, cases []*result.CaseResult, metric string, s sides) heatTable {
	cases = byDistribution(cases)
	t := heatTable{Workers: size, Metric: metric, Baseline: cases[0].Baseline}
	var names []string
	for _, c := range cases {
		k, _ := newCoordinates(c)
		if n := len(t.Distributions); n == 0 || t.Distributions[n-1].Name != k.distribution {
			t.Distributions = append(t.Distributions, heatHead{Name: k.distribution})
		}
		t.Distributions[len(t.Distributions)-1].Span++
		t.Loads = append(t.Loads, k.load)
		for i := range c.Rows {
			if name := c.Rows[i].Contender; name != c.Baseline && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	for _, name := range names {
		row := heatRow{Contender: name, Ours: s.ours(name)}
		for _, c := range cases {
			row.Cells = append(row.Cells, newHeatCell(c, c.Row(name), metric))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// byDistribution keeps the order in which distributions came, and puts the
// cases of each together.
func byDistribution(cases []*result.CaseResult) []*result.CaseResult {
	at := map[string]int{}
	for _, c := range cases {
		if k, _ := newCoordinates(c); at[k.distribution] == 0 {
			at[k.distribution] = len(at) + 1
		}
	}
	return slices.SortedStableFunc(slices.Values(cases), func(a, b *result.CaseResult) int {
		x, _ := newCoordinates(a)
		y, _ := newCoordinates(b)
		return at[x.distribution] - at[y.distribution]
	})
}

func newHeatCell(c *result.CaseResult, row *result.Row, metric string) heatCell {
	switch {
	case row == nil:
		return heatCell{Text: "·", Title: "not in this case"}
	case row.Figures[metric].Ratio == nil:
		return heatCell{Text: missing(row), Title: strings.Join(troubles(row), "; ")}
	}
	r := *row.Figures[metric].Ratio
	title := fmt.Sprintf("%s: %s %s", c.Name, ratioSpan(r), mark(&r))
	return heatCell{factor(r.Median), title, heat(r.Median)}
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
