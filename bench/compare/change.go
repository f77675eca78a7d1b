package compare

import (
	"cmp"
	"math"
	"slices"

	"github.com/sockdist/sockdist/bench/report"
	"github.com/sockdist/sockdist/bench/result"
)

// A Change is a metric of a contender in a case of both runs.
type Change struct {
	Case      string       `json:"case"`
	Contender string       `json:"contender"`
	Metric    string       `json:"metric"`
	Baseline  string       `json:"baseline"`
	Old       result.Ratio `json:"old"`
	New       result.Ratio `json:"new"`
	Factor    float64      `json:"factor"` // how much worse: above 1 worse, below better, whatever the metric
	Verdict   Verdict      `json:"verdict"`
	Error     string       `json:"error,omitempty"` // of the new run, if it has no figure
}

// A Verdict says what a change is.
type Verdict string

// Verdicts. The first is what this is all about.
const (
	Regressed Verdict = "regressed"
	Improved  Verdict = "improved"
	Same      Verdict = "same"    // or not apart enough to tell
	Untold    Verdict = "untold"  // a run has a single round, and no interval
	Failed    Verdict = "failed"  // had a figure, and has errors now
	Fixed     Verdict = "fixed"   // had errors, and has a figure now
	Missing   Verdict = "missing" // had a figure, and isn't in the new run
)

// bad tells whether the verdict is a reason to fail.
func (v Verdict) bad() bool { return v == Regressed || v == Failed }

// A Matcher compares runs.
type Matcher struct {
	Threshold float64 // how far ratios must be apart, as a share
	All       bool    // all contenders, not only those of sockdist
}

// Changes are all that can be compared, the worst first.
func (m Matcher) Changes(old, new *result.Results) (all []Change) {
	for i := range old.Cases {
		before := &old.Cases[i]
		if after := find(new, before.Name); after != nil {
			all = append(all, m.changes(old, before, after)...)
		}
	}
	slices.SortStableFunc(all, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Verdict.rank(), b.Verdict.rank()), cmp.Compare(b.Factor, a.Factor))
	})
	return all
}

// rank sorts what matters to the front.
func (v Verdict) rank() int {
	return slices.Index([]Verdict{Failed, Regressed, Missing, Improved, Fixed, Untold, Same}, v)
}

// find is the case of a name; nil without it.
func find(r *result.Results, name string) *result.CaseResult {
	i := slices.IndexFunc(r.Cases, func(c result.CaseResult) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &r.Cases[i]
}

func (m Matcher) changes(old *result.Results, before, after *result.CaseResult) (all []Change) {
	for i := range before.Rows {
		row := &before.Rows[i]
		if row.Contender == before.Baseline || !m.All && !report.Ours(old, before, row.Contender) {
			continue
		}
		for _, metric := range before.Metrics {
			if c, ok := m.change(before, after, row, metric); ok {
				all = append(all, c)
			}
		}
	}
	return all
}

func (m Matcher) change(before, after *result.CaseResult, row *result.Row, metric result.Metric) (Change, bool) {
	c := Change{Case: before.Name, Contender: row.Contender, Metric: metric.Name, Baseline: before.Baseline, Factor: 1}
	was := row.Figures[metric.Name].Ratio
	now := after.Row(row.Contender)
	var is *result.Ratio
	if now != nil && before.Baseline == after.Baseline {
		is = now.Figures[metric.Name].Ratio
	}
	switch {
	case was == nil && is == nil:
		return c, false
	case was == nil:
		c.New, c.Verdict = *is, Fixed
	case is == nil:
		c.Old, c.Verdict, c.Error = *was, Missing, failure(now)
		if c.Error != "" {
			c.Verdict = Failed
		}
	default:
		c.Old, c.New, c.Factor = *was, *is, factor(metric, *was, *is)
		c.Verdict = m.verdict(metric, *was, *is, c.Factor)
	}
	return c, true
}

// failure is the first error of a row.
func failure(row *result.Row) string {
	if row == nil {
		return ""
	}
	for _, s := range row.Rounds {
		if s.Error != "" {
			return s.Error
		}
	}
	return ""
}

// factor is how much worse a ratio got. From 0 to 0 it is 1.
func factor(m result.Metric, was, is result.Ratio) float64 {
	if m.Higher {
		was, is = is, was
	}
	switch {
	case was.Median == is.Median:
		return 1
	case was.Median == 0:
		return result.Endless
	default:
		return math.Min(result.Endless, is.Median/was.Median)
	}
}

// verdict asks for both: intervals that don't touch, and medians that are
// farther apart than the threshold.
func (m Matcher) verdict(metric result.Metric, was, is result.Ratio, factor float64) Verdict {
	up, down := is.Low > was.High, is.High < was.Low
	if metric.Higher {
		up, down = down, up
	}
	switch {
	case was.Coverage == 0 || is.Coverage == 0:
		return Untold
	case up && factor > 1+m.Threshold:
		return Regressed
	case down && factor < 1/(1+m.Threshold):
		return Improved
	default:
		return Same
	}
}
