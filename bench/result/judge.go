package result

import (
	"math"
	"slices"
)

// Endless stands for the ratio to a baseline of 0, since JSON has no infinity:
// larger than any that is measured.
const Endless = 1e9

// alike is how far from 1 a ratio may be and still not matter, however sure it is.
const alike = 0.01

// Judge fills the figures of all rows from their rounds. A round that failed,
// or that lacks a value, doesn't count; a metric without any value has no
// figure.
func (c *CaseResult) Judge() {
	baseline := c.Row(c.Baseline)
	for i := range c.Rows {
		row := &c.Rows[i]
		row.Figures = map[string]Figure{}
		for _, m := range c.Metrics {
			if f, ok := row.figure(m); ok {
				if baseline != nil && row.Contender != c.Baseline {
					f.Ratio = m.Paired(row, baseline)
				}
				row.Figures[m.Name] = f
			}
		}
	}
}

// Row is that of a contender; nil if the case hasn't it.
func (c *CaseResult) Row(contender string) *Row {
	i := slices.IndexFunc(c.Rows, func(r Row) bool { return r.Contender == contender })
	if i < 0 {
		return nil
	}
	return &c.Rows[i]
}

// Value is a sample's value of a metric, if it counts.
func (s *Sample) Value(metric string) (v float64, ok bool) {
	v, ok = s.Values[metric]
	return v, ok && s.Error == "" && !math.IsNaN(v) && !math.IsInf(v, 0)
}

// figure is the metric over all rounds that count.
func (r *Row) figure(m Metric) (f Figure, ok bool) {
	var values []float64
	for i := range r.Rounds {
		if v, ok := r.Rounds[i].Value(m.Name); ok {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return f, false
	}
	f.Median, f.Low, f.High, _ = middle(values)
	return f, true
}

// Paired compares two contenders of a case, round by round. It is nil if there
// is no round in which both have a value.
func (m Metric) Paired(row, baseline *Row) *Ratio {
	var ratios []float64
	for i := range min(len(row.Rounds), len(baseline.Rounds)) {
		v, ok := row.Rounds[i].Value(m.Name)
		base, also := baseline.Rounds[i].Value(m.Name)
		if ok && also {
			ratios = append(ratios, over(v, base))
		}
	}
	if len(ratios) == 0 {
		return nil
	}
	var r Ratio
	r.Median, r.Low, r.High, r.Coverage = middle(ratios)
	r.Verdict = m.verdict(r)
	return &r
}

// over is v/base. Nothing over nothing is the same; something over nothing is
// as much as can be.
func over(v, base float64) float64 {
	switch {
	case v == base:
		return 1
	case base == 0:
		return math.Copysign(Endless, v)
	default:
		return max(-Endless, min(Endless, v/base))
	}
}

// verdict says what a ratio means, if the interval tells it apart from 1.
func (m Metric) verdict(r Ratio) Verdict {
	switch {
	case r.Coverage == 0 || math.Abs(r.Median-1) <= alike:
		return Tie
	case r.Low > 1 && m.Higher, r.High < 1 && !m.Higher:
		return Better
	case r.Low > 1, r.High < 1:
		return Worse
	default:
		return Tie
	}
}

// middle is the median of values, and an interval that holds the median of
// what they were drawn from in a share of coverage of all cases, whatever its
// distribution. A single value has no interval: coverage is 0.
func middle(values []float64) (median, low, high, coverage float64) {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	median = sorted[n/2]
	if n%2 == 0 {
		median = sorted[n/2-1] + (median-sorted[n/2-1])/2
	}
	k := LeftOut(n)
	return median, sorted[k], sorted[n-1-k], coverageOf(n, k)
}

// Coverage is that of the interval which Judge gives so many rounds: 0.9375 for
// five, 0 for one, which has none.
func Coverage(rounds int) float64 {
	if rounds < 2 {
		return 0
	}
	return coverageOf(rounds, LeftOut(rounds))
}

// enough is the coverage that more than five rounds are used for: that of the
// extremes of five.
const enough = 0.9375

// LeftOut is how many of n rounds' values lie outside of the interval at each
// end: as many as still leave it the coverage of the extremes of five.
func LeftOut(n int) (k int) {
	for k+1 <= (n-1)/2 && coverageOf(n, k+1) >= enough {
		k++
	}
	return k
}

// coverageOf is how often the interval from the (k+1)th smallest to the
// (k+1)th largest of n values holds the true median: each value is below it as
// often as a coin falls on one side, so it misses if k or fewer of n do.
func coverageOf(n, k int) float64 {
	missed, choose := 0.0, math.Pow(0.5, float64(n))
	for i := range k + 1 {
		missed += choose
		choose *= float64(n-i) / float64(i+1)
	}
	return max(0, 1-2*missed)
}
