package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/sockdist/sockdist/bench/result"
)

// number writes three digits of a value, and no exponent.
func number(v float64) string {
	switch size := math.Abs(v); {
	case v == 0:
		return "0"
	case size >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case size >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case size >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case size >= 0.0005:
		return strconv.FormatFloat(v, 'f', 3, 64)
	default:
		return strconv.FormatFloat(v, 'g', 2, 64)
	}
}

// times writes a ratio.
func times(ratio float64) string { return factor(ratio) + "×" }

func factor(ratio float64) string {
	if math.Abs(ratio) >= result.Endless {
		return "∞"
	}
	return number(ratio)
}

// span writes an interval; "" if it is none.
func span(low, high float64) string {
	if low == high {
		return ""
	}
	return fmt.Sprintf("(%s–%s)", factor(low), factor(high))
}

// ratioSpan writes a ratio and its interval, where it has one.
func ratioSpan(r result.Ratio) string {
	if r.Low == r.High {
		return times(r.Median)
	}
	return fmt.Sprintf("%s (%s–%s)", times(r.Median), factor(r.Low), factor(r.High))
}

// mark is the verdict in a word; "" if there weren't enough rounds for one.
func mark(r *result.Ratio) string {
	if r == nil || r.Coverage == 0 {
		return ""
	}
	return string(r.Verdict)
}

// heading is a metric with its unit.
func heading(m result.Metric) string {
	if m.Unit == "" || strings.HasSuffix(m.Name, m.Unit) {
		return m.Name
	}
	return m.Name + ", " + m.Unit
}

// many writes a count and its noun.
func many(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// duration writes seconds as people say them.
func duration(seconds float64) string {
	if seconds < 90 {
		return fmt.Sprintf("%.0f s", seconds)
	}
	return fmt.Sprintf("%.0f min", seconds/60)
}
