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
	text := fmt.Sprintf("%s %s%s, in %s%s.", x.row, x.comparison(), x.opponent(), x.c.Name, x.interval())
	if f.of == 1 {
		return text
	}
	return fmt.Sprintf("%s It is %s in %d of %d such cases, and this is the extreme.", text, f.side(), len(f.some), f.of)
}

// side is the verdict as an adjective.
func (f *finding) side() string {
	if v := f.head().ratio.Verdict; v != result.Tie {
		return string(v)
	}
	return "a tie"
}

// comparison is the verb and how much.
func (x *contest) comparison() string {
	name := title(x.metric)
	switch {
	case x.ratio.Verdict == result.Tie:
		return fmt.Sprintf("can't be told apart in %s from ", name)
	case x.ratio.Median >= result.Endless:
		return fmt.Sprintf("has %s of %s, where there is none with ", name, x.value())
	case x.ratio.Median == 0:
		return fmt.Sprintf("has no %s, unlike ", name)
	default:
		return fmt.Sprintf("has %s times the %s of ", factor(x.ratio.Median), name)
	}
}

// value is the row's own median, with its unit.
func (x *contest) value() string {
	text := number(x.c.Row(x.row).Figures[x.metric.Name].Median)
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
