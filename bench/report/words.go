package report

import (
	"fmt"

	"github.com/sockdist/sockdist/bench/result"
)

// title is what a metric is called in a sentence.
func title(m result.Metric) string {
	if m.Title != "" {
		return m.Title
	}
	return m.Name
}

// sentence says a finding in plain words.
func (f *finding) sentence() string {
	x := f.head()
	text := fmt.Sprintf("%s: %s %s, in %s%s.", x.row, title(x.metric), x.comparison(), x.c.Name, x.interval())
	if f.of == 1 {
		return text
	}
	return fmt.Sprintf("%s This is the extreme; %s in %d of %d cases.", text, f.side(), len(f.some), f.of)
}

// side is the verdict as an adjective.
func (f *finding) side() string {
	if v := f.head().ratio.Verdict; v != result.Tie {
		return string(v)
	}
	return "a tie"
}

// comparison is how much, and of whom.
func (x *contest) comparison() string {
	switch {
	case x.ratio.Verdict == result.Tie:
		return "can't be told apart from that of " + x.opponent()
	case x.ratio.Median >= result.Endless:
		return fmt.Sprintf("is %s, and 0 with %s", x.value(x.row), x.opponent())
	case x.ratio.Median == 0:
		return fmt.Sprintf("is 0, and %s with %s", x.value(x.against), x.opponent())
	default:
		return fmt.Sprintf("is %s times that of %s", factor(x.ratio.Median), x.opponent())
	}
}

// value is a row's median, with its unit.
func (x *contest) value(row string) string {
	text := number(x.c.Row(row).Figures[x.metric.Name].Median)
	if x.metric.Unit == "" {
		return text
	}
	return text + " " + x.metric.Unit
}

func (x *contest) opponent() string {
	if x.baseline {
		return x.against + ", the baseline"
	}
	return x.against + ", the best of the others"
}

func (x *contest) interval() string {
	if x.ratio.Low == x.ratio.High || x.ratio.Median >= result.Endless {
		return ""
	}
	return fmt.Sprintf(" (%s–%s)", times(x.ratio.Low), times(x.ratio.High))
}
