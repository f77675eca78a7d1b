package report

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/sockdist/sockdist/bench/result"
)

// A glance is one of sockdist's rows in one case, by the metric that decides,
// beside the best of the others and beside plain reuseport.
type glance struct {
	c      *result.CaseResult
	metric result.Metric
	row    *result.Row
	best   peer
	plain  peer
}

// A peer is who sockdist is compared to; without a name there is none.
type peer struct {
	name  string
	ratio *result.Ratio
}

// lost tells whether the row fails, or is worse than either.
func (g *glance) lost() bool {
	return len(g.row.Figures) == 0 || g.best.won() || g.plain.won()
}

func (p peer) won() bool {
	return p.ratio != nil && p.ratio.Coverage > 0 && p.ratio.Verdict == result.Worse
}

// glances are those of a run, of some cases of each workload.
func glances(r *result.Results) (all []glance) {
	s := newSides(r)
	for _, c := range chosen(r) {
		if len(c.Metrics) == 0 {
			continue
		}
		for _, row := range s.shown(c) {
			all = append(all, s.glance(c, row))
		}
	}
	return all
}

func (s sides) glance(c *result.CaseResult, row *result.Row) glance {
	m := c.Metrics[0]
	g := glance{c: c, metric: m, row: row}
	g.best = newPeer(m, row, s.best(c, row, m))
	for i := range c.Rows {
		if other := &c.Rows[i]; plain(other.Contender) && s.family[other.Contender] == s.family[row.Contender] {
			g.plain = newPeer(m, row, other)
		}
	}
	return g
}

func newPeer(m result.Metric, row, other *result.Row) peer {
	if other == nil {
		return peer{}
	}
	return peer{other.Contender, m.Paired(row, other)}
}

// shown are the rows of a case that stand for sockdist: what it does by
// default. Where they are parts, the one that is worst stands for all.
func (s sides) shown(c *result.CaseResult) (rows []*result.Row) {
	var worst *result.Row
	m := c.Metrics[0]
	for i := range c.Rows {
		row := &c.Rows[i]
		switch {
		case !s.ours(c, row.Contender) || s.variant(c, row.Contender):
		case !s.part(row.Contender):
			rows = append(rows, row)
		case worst == nil || better(m, worst.Figures[m.Name].Median, row.Figures[m.Name].Median):
			worst = row
		}
	}
	if worst != nil {
		rows = append(rows, worst)
	}
	return rows
}

// few is how many cases of a workload are shown side by side.
const few = 8

// chosen are the cases that stand for their workloads: all where they are few,
// else those of middle size, and the one that sockdist loses most.
func chosen(r *result.Results) (cases []*result.CaseResult) {
	worst := worstCases(r)
	for _, some := range byWorkload(r) {
		cases = append(cases, choose(some, worst[some[0].Workload])...)
	}
	return cases
}

func choose(all []*result.CaseResult, worst *result.CaseResult) (some []*result.CaseResult) {
	if len(all) <= few {
		return all
	}
	typical := slices.ContainsFunc(all, isTypical)
	for i, c := range all {
		spaced := !typical && i%(len(all)/few) == 0
		if isTypical(c) || spaced || c == worst {
			some = append(some, c)
		}
	}
	return some
}

// isTypical is for the workload with dozens of cells: the sizes and loads that
// most servers have. Further contenders are shown in one of these cells.
func isTypical(c *result.CaseResult) bool {
	k, ok := newCoordinates(c)
	return ok && k.workers == "8" && (k.load == "0.85" || k.load == "0.7" && k.others == "") &&
		(k.distribution == "exponential" || k.distribution == "bimodal" && k.others == "")
}

// worstCases are the cases that sockdist's default loses most, by workload.
func worstCases(r *result.Results) map[string]*result.CaseResult {
	worst := map[string]*contest{}
	for _, x := range those(contests(r), result.Worse) {
		if x.first && !x.variant && (worst[x.c.Workload] == nil || x.loss() > worst[x.c.Workload].loss()) {
			worst[x.c.Workload] = &x
		}
	}
	cases := map[string]*result.CaseResult{}
	for workload, x := range worst {
		cases[workload] = x.c
	}
	return cases
}

// byWorkload are the cases in the order of the run, those of a workload together.
func byWorkload(r *result.Results) (all [][]*result.CaseResult) {
	at := map[string]int{}
	for i := range r.Cases {
		c := &r.Cases[i]
		if _, known := at[c.Workload]; !known {
			at[c.Workload] = len(all)
			all = append(all, nil)
		}
		all[at[c.Workload]] = append(all[at[c.Workload]], c)
	}
	return all
}

// coordinates are where a case lies among those of a workload that has a case
// for every size, distribution and load.
type coordinates struct {
	workers, distribution, load string
	others                      string // that are compared there too, in a case of their own
}

// newCoordinates reads a name such as "queue/8/exponential/0.85", or the same
// with "/node" behind it.
func newCoordinates(c *result.CaseResult) (k coordinates, ok bool) {
	parts := strings.Split(c.Name, "/")
	if len(parts) < 4 || len(parts) > 5 || !numeric(parts[1]) || !numeric(parts[3]) {
		return k, false
	}
	return coordinates{parts[1], parts[2], parts[3], strings.Join(parts[4:], "")}, true
}

func numeric(text string) bool {
	_, err := strconv.ParseFloat(text, 64)
	return err == nil
}

// losersFirst sorts so that what sockdist loses leads.
func losersFirst(all []glance) []glance {
	return slices.SortedStableFunc(slices.Values(all), func(a, b glance) int {
		return cmp.Compare(rankOf(a), rankOf(b))
	})
}

func rankOf(g glance) int {
	if g.lost() {
		return 0
	}
	return 1
}
