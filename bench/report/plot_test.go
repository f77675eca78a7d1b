package report

import (
	"math"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/sockdist/sockdist/bench/result"
)

// A curve rises to both sides, is short, and is where the histogram is.
func TestTail(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	h := hdrhistogram.New(1, 60_000_000, 3)
	for range 20_000 {
		_ = h.RecordValue(int64(1 + 5000*r.ExpFloat64()))
	}
	curve := tail(h)
	if len(curve) < 40 || len(curve) > 100 {
		t.Errorf("%d points", len(curve))
	}
	for i, p := range curve {
		if i > 0 && (p.X <= curve[i-1].X || p.Y <= curve[i-1].Y) {
			t.Errorf("point %d: %v after %v", i, p, curve[i-1])
		}
		// An exponential distribution with mean 5 ms has P(X > x) = e^(-x/5).
		if want := p.X / 5 / math.Ln10; p.Y > 0.3 && p.Y < 2 && math.Abs(p.Y-want) > 0.1 {
			t.Errorf("%v ms at %v, %v by theory", p.X, p.Y, want)
		}
	}
}

// All rounds count, those with errors don't.
func TestLatencies(t *testing.T) {
	m := maker{Rand: rand.New(rand.NewPCG(1, 2))}
	row := result.Row{Rounds: []result.Sample{m.latencies(5, 100), m.latencies(5, 200), m.latencies(5, 400), {}}}
	row.Rounds[1].Error = "it left"
	if h := latencies(&row); h == nil || h.TotalCount() != 500 {
		t.Errorf("%v", h)
	}
	if latencies(&result.Row{Rounds: []result.Sample{{Histogram: "damaged"}}}) != nil {
		t.Error("latencies of a damaged histogram")
	}
}

func TestTicks(t *testing.T) {
	for _, test := range []struct {
		ticks interface{ labels() string }
		want  string
	}{
		{linear{0, 7.3}, "0 2 4 6"}, {linear{0, 0.02}, "0 0.005 0.01 0.015 0.02"}, {linear{0.7, 1}, "0.7 0.8 0.9 1"},
		{linear{0, 15500}, "0 5000 10000 15000"}, {linear{1, 1}, ""},
		{logarithmic{0.5, 30}, "0.5 1 2 5 10 20"}, {logarithmic{0.01, 900}, "0.01 0.1 1 10 100"},
	} {
		if got := test.ticks.labels(); got != test.want {
			t.Errorf("%v: %s", test.ticks, got)
		}
	}
}

type linear struct{ low, high float64 }
type logarithmic struct{ low, high float64 }

func (l linear) labels() string {
	var all []string
	for _, tick := range (round{}).Ticks(l.low, l.high) {
		all = append(all, tick.Label)
	}
	return strings.Join(all, " ")
}

func (l logarithmic) labels() string {
	var all []string
	for _, tick := range (decades{}).Ticks(l.low, l.high) {
		all = append(all, tick.Label)
	}
	return strings.Join(all, " ")
}

// Rows of a case look different, and sockdist's are warm.
func TestStrokes(t *testing.T) {
	s := newSides(made())
	for i := range made().Cases {
		c := &made().Cases[i]
		seen := map[string]string{}
		for name, look := range strokes(c, s) {
			key := look.CSS() + look.DashArray()
			if other, twice := seen[key]; twice {
				t.Errorf("%s: %s and %s look alike", c.Name, name, other)
			}
			seen[key] = name
		}
	}
}

// Bars stay inside of their plot, and what differs by orders gets points.
func TestBars(t *testing.T) {
	c := small()
	looks := strokes(c, newSides(around(5, *c)))
	chart := string(barChart(c, c.Metrics[0], looks))
	box := regexp.MustCompile(`viewBox="0 0 380 (\d+)"`).FindStringSubmatch(chart)
	if box == nil || !strings.Contains(chart, "sockdist-go</text>") || strings.Contains(chart, "go-shared</text>") || !strings.Contains(chart, "less is better") {
		t.Errorf("%s", chart)
	}
	if strings.Contains(chart, "#000000") || strings.Contains(chart, "A3") {
		t.Errorf("black, or points: %s", chart)
	}
	for i := range c.Rows[1].Rounds {
		c.Rows[1].Rounds[i].Values["p99"] *= 1000
	}
	c.Judge()
	if chart := string(barChart(c, c.Metrics[0], looks)); !strings.Contains(chart, "A3") {
		t.Errorf("bars on a logarithmic axis: %s", chart)
	}
	for i := range c.Rows {
		for j := range c.Rows[i].Rounds {
			delete(c.Rows[i].Rounds[j].Values, "p99")
		}
	}
	c.Judge()
	if barChart(c, c.Metrics[0], looks) != "" {
		t.Error("bars of nothing")
	}
}
