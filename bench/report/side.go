package report

import (
	"slices"
	"strings"

	"github.com/sockdist/sockdist/bench/result"
)

// variants are the endings of sockdist's contenders with a policy that isn't
// the default.
var variants = []string{"-p2c", "-rr", "-random", "-hash"}

// sides tells which rows are sockdist's, and which are the others'.
type sides struct {
	family map[string]string // by contender
}

func newSides(r *result.Results) sides {
	s := sides{map[string]string{}}
	for _, c := range r.Contenders {
		s.family[c.Name] = c.Family
	}
	return s
}

// Steered tells whether sockdist steers a contender.
func Steered(contender string) bool {
	return strings.Contains(contender, "sockdist") || contender == "nginx-attached"
}

// ours tells whether a row of a case is sockdist's. One that is no contender
// is a part of sockdist, measured beside others.
func (s sides) ours(row string) bool {
	_, contender := s.family[row]
	return Steered(row) || !contender
}

// variant tells whether a row is sockdist with a policy that one must ask for.
func (s sides) variant(row string) bool {
	return Steered(row) && slices.ContainsFunc(variants, func(end string) bool { return strings.HasSuffix(row, end) })
}

// plain tells whether a contender is the same app on reuseport alone.
func plain(contender string) bool {
	return strings.HasSuffix(contender, "-reuseport") || contender == "fasthttp-prefork"
}

// best is the other of a row's family that has the best median; nil without one.
func (s sides) best(c *result.CaseResult, row *result.Row, m result.Metric) (best *result.Row) {
	for i := range c.Rows {
		other := &c.Rows[i]
		f, ok := other.Figures[m.Name]
		if !ok || s.ours(other.Contender) || s.family[other.Contender] != s.family[row.Contender] {
			continue
		}
		if best == nil || better(m, f.Median, best.Figures[m.Name].Median) {
			best = other
		}
	}
	return best
}

func better(m result.Metric, a, b float64) bool {
	if m.Higher {
		return a > b
	}
	return a < b
}
