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

// Ours tells whether a row of a case of a run is sockdist's.
func Ours(r *result.Results, c *result.CaseResult, row string) bool { return newSides(r).ours(c, row) }

// part tells whether a row is no contender, but a part of sockdist, or of
// another, that is measured alone.
func (s sides) part(row string) bool {
	_, contender := s.family[row]
	return !contender && !Steered(row)
}

// peers are how the names of others begin.
var peers = []string{"haproxy", "nginx", "node-", "pm2"}

// ours tells whether a row of a case is sockdist's. A part is, unless it is
// what the parts are compared to, or somebody else's.
func (s sides) ours(c *result.CaseResult, row string) bool {
	return Steered(row) || s.part(row) && row != c.Baseline &&
		!slices.ContainsFunc(peers, func(begin string) bool { return strings.HasPrefix(row, begin) })
}

// variant tells whether a row is sockdist as one must ask for it, and not as it
// is by default.
func (s sides) variant(c *result.CaseResult, row string) bool {
	if s.part(row) {
		return row != byDefault && c.Row(byDefault) != nil
	}
	return Steered(row) && slices.ContainsFunc(variants, func(end string) bool { return strings.HasSuffix(row, end) })
}

// byDefault is the row of the default policy, where rows are policies.
const byDefault = "least"

// plain tells whether a contender is the same app on reuseport alone.
func plain(contender string) bool {
	return strings.HasSuffix(contender, "-reuseport") || contender == "fasthttp-prefork"
}

// best is the other that has the best median, of a row's family where it has
// one; nil if there is none.
func (s sides) best(c *result.CaseResult, row *result.Row, m result.Metric) (best *result.Row) {
	for i := range c.Rows {
		other := &c.Rows[i]
		f, ok := other.Figures[m.Name]
		if !ok || s.ours(c, other.Contender) || !s.part(row.Contender) && s.family[other.Contender] != s.family[row.Contender] {
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
