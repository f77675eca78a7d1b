package report

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"github.com/sockdist/sockdist/bench/result"
)

// A contest is one of sockdist's rows beside one of the others, in one metric
// of one case.
type contest struct {
	c        *result.CaseResult
	metric   result.Metric
	first    bool // the metric is the one that decides
	row      string
	against  string
	baseline bool // against is the case's baseline, else the best of the family
	variant  bool
	part     bool // the row is no contender
	ratio    result.Ratio
}

// contests are all of a run: each of sockdist's rows, beside the baseline and
// beside the best of its family.
func contests(r *result.Results) (all []contest) {
	s := newSides(r)
	for i := range r.Cases {
		c := &r.Cases[i]
		for j := range c.Rows {
			if row := &c.Rows[j]; s.ours(c, row.Contender) && row.Contender != c.Baseline {
				all = append(all, s.contests(c, row)...)
			}
		}
	}
	return all
}

func (s sides) contests(c *result.CaseResult, row *result.Row) (all []contest) {
	for i, m := range c.Metrics {
		f, ok := row.Figures[m.Name]
		if !ok {
			continue
		}
		x := contest{c: c, metric: m, first: i == 0, row: row.Contender, variant: s.variant(c, row.Contender), part: s.part(row.Contender)}
		if f.Ratio != nil {
			x.against, x.baseline, x.ratio = c.Baseline, true, *f.Ratio
			all = append(all, x)
		}
		if best := s.best(c, row, m); best != nil && best.Contender != c.Baseline {
			if ratio := m.Paired(row, best); ratio != nil {
				x.against, x.baseline, x.ratio = best.Contender, false, *ratio
				all = append(all, x)
			}
		}
	}
	return all
}

// loss is how much worse, as a factor: 2 is half as good, whatever the metric.
func (x *contest) loss() float64 {
	if !x.metric.Higher {
		return x.ratio.Median
	}
	if x.ratio.Median == 0 {
		return result.Endless
	}
	return 1 / x.ratio.Median
}

// told is whether there were rounds enough to tell anything.
func (x *contest) told() bool { return x.ratio.Coverage > 0 }

// those filters contests by their verdict; without an interval there is none.
func those(all []contest, v result.Verdict) []contest {
	return slices.Collect(func(yield func(contest) bool) {
		for _, x := range all {
			if x.told() && x.ratio.Verdict == v && !yield(x) {
				return
			}
		}
	})
}

// A matter is what is said in one sentence: the contests of a row in one metric
// of a workload, against the baseline or against the best.
type matter struct {
	workload, row, metric string
	baseline              bool
}

func (x *contest) matter() matter { return matter{x.c.Workload, x.row, x.metric.Name, x.baseline} }

// A finding is the contests of a matter that ended alike.
type finding struct {
	some []contest // the one that is farthest from 1 first
	of   int       // contests of the matter in all
}

// head is the contest that stands for all.
func (f *finding) head() *contest { return &f.some[0] }

// findings sums contests up that ended alike, out of all: what sockdist does by
// default before what one must ask for, contenders before parts, deciding metrics before others, the
// farthest from 1 before the rest.
func findings(all []contest, v result.Verdict) []finding {
	total := map[matter]int{}
	for i := range all {
		total[all[i].matter()]++
	}
	by := map[matter]*finding{}
	for _, x := range those(all, v) {
		k := x.matter()
		if by[k] == nil {
			by[k] = &finding{of: total[k]}
		}
		by[k].some = append(by[k].some, x)
	}
	for _, f := range by {
		slices.SortStableFunc(f.some, farther)
	}
	return slices.SortedFunc(values(by), func(a, b finding) int {
		x, y := a.head(), b.head()
		return cmp.Or(order(x.variant, y.variant), order(x.part, y.part), order(!x.first, !y.first), farther(*x, *y),
			cmp.Compare(x.c.Name, y.c.Name), cmp.Compare(x.row, y.row), cmp.Compare(x.metric.Name, y.metric.Name), order(!x.baseline, !y.baseline))
	})
}

func values(by map[matter]*finding) func(func(finding) bool) {
	return func(yield func(finding) bool) {
		for f := range maps.Values(by) {
			if !yield(*f) {
				return
			}
		}
	}
}

// farther sorts by the distance from 1, by factors.
func farther(a, b contest) int {
	return cmp.Compare(distance(&b), distance(&a))
}

func distance(x *contest) float64 { return math.Abs(math.Log(max(x.loss(), 1e-12))) }

// order has false before true.
func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}

// A broken is one of sockdist's rows that has no figures for its errors.
type broken struct {
	c        *result.CaseResult
	row      string
	troubles []string
}

// brokens are sockdist's rows that failed in every round.
func brokens(r *result.Results) (all []broken) {
	s := newSides(r)
	for i := range r.Cases {
		c := &r.Cases[i]
		for j := range c.Rows {
			row := &c.Rows[j]
			if s.ours(c, row.Contender) && len(row.Figures) == 0 && len(row.Rounds) > 0 {
				all = append(all, broken{c, row.Contender, troubles(row)})
			}
		}
	}
	return all
}
