package report

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/sockdist/sockdist/bench/result"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"number":    number,
	"times":     times,
	"span":      span,
	"ratioSpan": ratioSpan,
	"mark":      mark,
	"percent":   percent,
	"duration":  duration,
	"join":      func(words []string) string { return strings.Join(words, "; ") },
	"command":   command,
	"heading":   heading,
	"title":     title,
	"words":     func(words []string) string { return strings.Join(words, " ") },
	"gigabytes": func(bytes uint64) string { return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30)) },
}).Parse(pageText))

// Page writes one HTML page about runs, which needs nothing but itself. For the
// same runs it is the same.
func Page(w io.Writer, runs ...*result.Results) error {
	var p page
	for i, r := range runs {
		v := newRunView(r)
		if len(runs) > 1 {
			v.Prefix = fmt.Sprintf("run%d-", i+1)
			v.Number = fmt.Sprintf("Run %d of %d", i+1, len(runs))
		}
		p.Runs = append(p.Runs, v)
	}
	return pageTemplate.Execute(w, p)
}

// A page is what the template gets.
type page struct {
	Runs []runView
}

// A runView is one run.
type runView struct {
	*result.Results
	Prefix, Number string // of ids and headings, where there are several
	Coverage       float64
	Wrong          float64 // share of verdicts about equals that are wrong

	Compared, Lost, Tied, Won int
	Untold                    int // comparisons without an interval
	Broken                    []broken
	Losses, Ties, Wins        findingsView
	Variants                  findingsView // losses with policies that one must ask for
	Scores                    []score
	Glances                   []glanceView
	Workloads                 []workloadView
	Checks                    []checkView
	Overshoot                 []pair
	Sysctls, Versions         []pair
	Missing                   []result.Contender
	Ran                       []result.Contender
}

// A pair is a line of a list.
type pair struct{ Name, Value string }

// A findingsView is led by the most important ones; the rest is folded.
type findingsView struct {
	Lead, Rest []findingView
}

// lead is how many findings come before the fold.
const lead = 15

func (v *findingsView) add(f finding) {
	if len(v.Lead) < lead {
		v.Lead = append(v.Lead, newFindingView(f))
	} else {
		v.Rest = append(v.Rest, newFindingView(f))
	}
}

// Len counts all.
func (v findingsView) Len() int { return len(v.Lead) + len(v.Rest) }

type findingView struct {
	Workload, Sentence, Case string
	First                    bool
	Some                     []contest
}

// The parts of a contest that the template shows.
func (x contest) Case() string          { return x.c.Name }
func (x contest) Row() string           { return x.row }
func (x contest) Against() string       { return x.against }
func (x contest) Metric() result.Metric { return x.metric }
func (x contest) Ratio() result.Ratio   { return x.ratio }
func (b broken) Case() string           { return b.c.Name }
func (b broken) Row() string            { return b.row }
func (b broken) Troubles() []string     { return b.troubles }

// A score counts the comparisons of one of sockdist's rows in a workload.
type score struct {
	Workload, Row    string
	Lost, Tied, Won  int
	Compared, Untold int
}

type glanceView struct {
	Case, Metric, Own string
	Best, Plain       string
	BestLost          bool
	PlainLost         bool
	Lost              bool
}

// A workloadView is a section of the page.
type workloadView struct {
	Name  string
	Title string
	Heat  []heatTable
	Plots []plotsView // of some cases, where tables are folded
	Cases []caseView
	Fold  bool // there are many
}

// plotsView are the plots of a case, and the key to its colours.
type plotsView struct {
	Case   string
	Title  string
	CDF    template.HTML
	Series []template.HTML
	Bars   []template.HTML
	Keys   []keyView
}

type keyView struct {
	Name string
	stroke
	Ours bool
}

// A caseView is a table.
type caseView struct {
	*result.CaseResult
	Rounds int
	Rows   []rowView
	Plots  *plotsView // nil where they stand elsewhere, or there are none
}

type rowView struct {
	Name     string
	Ours     bool
	Baseline bool
	Cells    []cellView
	Troubles []string
}

type cellView struct {
	Figure  *result.Figure
	Missing string
}

type checkView struct {
	result.Check
	Percent float64 // off by
	Wrong   bool
}

func newRunView(r *result.Results) runView {
	all := contests(r)
	s := newSides(r)
	v := runView{Results: r, Coverage: result.Coverage(r.Repeat), Wrong: 1 - result.Coverage(r.Repeat), Broken: brokens(r)}
	v.count(all)
	for _, f := range findings(all, result.Worse) {
		if f.head().variant {
			v.Variants.add(f)
		} else {
			v.Losses.add(f)
		}
	}
	for _, f := range findings(all, result.Tie) {
		v.Ties.add(f)
	}
	for _, f := range findings(all, result.Better) {
		v.Wins.add(f)
	}
	v.Scores = scores(all)
	for _, g := range losersFirst(glances(r)) {
		v.Glances = append(v.Glances, newGlanceView(g))
	}
	shown := chosen(r)
	for _, cases := range byWorkload(r) {
		v.Workloads = append(v.Workloads, newWorkloadView(cases, shown, s))
	}
	v.Checks = checks(r.Trust)
	v.Overshoot, v.Sysctls, v.Versions = pairs(r.Trust.Overshoot), pairs(r.Machine.Sysctls), pairs(r.Machine.Versions)
	for _, c := range r.Contenders {
		if c.Missing != "" {
			v.Missing = append(v.Missing, c)
		} else {
			v.Ran = append(v.Ran, c)
		}
	}
	return v
}

func (v *runView) count(all []contest) {
	for i := range all {
		v.Compared++
		switch x := &all[i]; {
		case !x.told():
			v.Untold++
		case x.ratio.Verdict == result.Worse:
			v.Lost++
		case x.ratio.Verdict == result.Better:
			v.Won++
		default:
			v.Tied++
		}
	}
}

func newFindingView(f finding) findingView {
	x := f.head()
	return findingView{x.c.Workload, f.sentence(), x.c.Name, x.first, f.some}
}

// scores are sorted as the workloads, what loses most first.
func scores(all []contest) (rows []score) {
	type key struct{ workload, row string }
	at := map[key]int{}
	var workloads []string
	for i := range all {
		x := &all[i]
		k := key{x.c.Workload, x.row}
		if _, known := at[k]; !known {
			at[k] = len(rows)
			rows = append(rows, score{Workload: k.workload, Row: k.row})
		}
		if !slices.Contains(workloads, k.workload) {
			workloads = append(workloads, k.workload)
		}
		rows[at[k]].add(x)
	}
	slices.SortStableFunc(rows, func(a, b score) int {
		return cmp.Or(cmp.Compare(slices.Index(workloads, a.Workload), slices.Index(workloads, b.Workload)),
			cmp.Compare(b.Lost*a.Compared, a.Lost*b.Compared))
	})
	return rows
}

func (s *score) add(x *contest) {
	s.Compared++
	switch {
	case !x.told():
		s.Untold++
	case x.ratio.Verdict == result.Worse:
		s.Lost++
	case x.ratio.Verdict == result.Better:
		s.Won++
	default:
		s.Tied++
	}
}

func newGlanceView(g glance) glanceView {
	return glanceView{g.c.Name, heading(g.metric), g.own(), g.best.text(), g.plain.text(), g.best.won(), g.plain.won(), g.lost()}
}

func newWorkloadView(cases, shown []*result.CaseResult, s sides) workloadView {
	v := workloadView{Name: cases[0].Workload, Fold: len(cases) > few}
	if v.Heat = heatTables(cases, "p99", s); v.Heat == nil && v.Fold {
		v.Fold = len(cases) > 2*few
	}
	for _, c := range cases {
		table := newCaseView(c, s)
		if slices.Contains(shown, c) {
			v.place(&table, newPlotsView(c, s, v.Heat == nil))
		}
		v.Cases = append(v.Cases, table)
	}
	return v
}

// place puts plots before their table, or before all where tables are folded.
func (v *workloadView) place(table *caseView, p plotsView) {
	switch {
	case p.empty():
	case v.Fold:
		v.Plots = append(v.Plots, p)
	default:
		table.Plots = &p
	}
}

func newPlotsView(c *result.CaseResult, s sides, allBars bool) plotsView {
	looks := strokes(c, s)
	p := plotsView{Case: c.Name, Title: c.Title, CDF: cdf(c, looks), Series: throughTime(c, looks)}
	for i, m := range c.Metrics {
		if i > 0 && !allBars {
			break
		}
		if chart := barChart(c, m, looks); chart != "" {
			p.Bars = append(p.Bars, chart)
		}
	}
	for i := range c.Rows {
		name := c.Rows[i].Contender
		p.Keys = append(p.Keys, keyView{name, looks[name], s.ours(c, name)})
	}
	return p
}

func (p *plotsView) empty() bool { return p.CDF == "" && len(p.Series) == 0 && len(p.Bars) == 0 }

// Lines tells whether some plot needs the key.
func (p plotsView) Lines() bool { return p.CDF != "" || len(p.Series) > 0 }

func newCaseView(c *result.CaseResult, s sides) caseView {
	v := caseView{CaseResult: c, Rounds: rounds(c)}
	for i := range c.Rows {
		row := &c.Rows[i]
		r := rowView{Name: row.Contender, Ours: s.ours(c, row.Contender), Baseline: row.Contender == c.Baseline, Troubles: troubles(row)}
		for _, m := range c.Metrics {
			if f, ok := row.Figures[m.Name]; ok {
				r.Cells = append(r.Cells, cellView{Figure: &f})
			} else {
				r.Cells = append(r.Cells, cellView{Missing: missing(row)})
			}
		}
		v.Rows = append(v.Rows, r)
	}
	return v
}

func checks(t result.Trust) (views []checkView) {
	for _, c := range t.Checks {
		off := math.Inf(1)
		if c.Expected != 0 {
			off = c.Measured/c.Expected - 1
		}
		views = append(views, checkView{c, 100 * off, math.Abs(off) > t.Tolerance})
	}
	return views
}

func pairs(m map[string]string) (all []pair) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		all = append(all, pair{name, m[name]})
	}
	return all
}

// command is a command line as a shell would take it.
func command(args []string) string {
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = quoted(arg)
	}
	return strings.Join(words, " ")
}

func quoted(arg string) string {
	if arg != "" && !strings.ContainsAny(arg, " \t\n\"'\\$&|;<>()*?[]#~`{}!") {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}
