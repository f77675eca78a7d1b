package report

import (
	"strings"
	"testing"

	"github.com/sockdist/sockdist/bench/result"
)

func TestContests(t *testing.T) {
	all := contests(around(5, *small()))
	want := []struct {
		metric, against string
		baseline        bool
		verdict         result.Verdict
	}{
		{"p99", "go-reuseport", true, result.Worse},
		{"p99", "go-master-rr", false, result.Worse},
		{"rate", "go-reuseport", true, result.Tie},
		{"rate", "go-master-rr", false, result.Worse},
	}
	if len(all) != len(want) {
		t.Fatalf("%d contests", len(all))
	}
	for i, w := range want {
		if x := all[i]; x.row != "sockdist-go" || x.metric.Name != w.metric || x.against != w.against || x.baseline != w.baseline || x.ratio.Verdict != w.verdict {
			t.Errorf("%d: %s, %s against %s, %+v", i, x.row, x.metric.Name, x.against, x.ratio)
		}
	}
}

// Every comparison is in exactly one finding, and what is worse is never among the wins.
func TestFindingsAreComplete(t *testing.T) {
	all := contests(made())
	seen := 0
	for _, v := range []result.Verdict{result.Worse, result.Tie, result.Better} {
		for _, f := range findings(all, v) {
			for _, x := range f.some {
				seen++
				if x.ratio.Verdict != v {
					t.Errorf("%s among %s", x.ratio.Verdict, v)
				}
				if distance(&x) > distance(f.head()) {
					t.Errorf("%s isn't the extreme", f.head().c.Name)
				}
			}
			if len(f.some) > f.of {
				t.Errorf("%d of %d", len(f.some), f.of)
			}
		}
	}
	if seen != len(all) || seen < 1000 {
		t.Errorf("%d of %d comparisons are told", seen, len(all))
	}
}

func TestSentences(t *testing.T) {
	said := map[result.Verdict]string{}
	for v := range map[result.Verdict]bool{result.Worse: true, result.Tie: true} {
		for _, f := range findings(contests(around(5, *small())), v) {
			said[v] += f.sentence() + "\n"
		}
	}
	for v, want := range map[result.Verdict]string{
		result.Worse: "sockdist-go: latency, p99 is 1.18 times that of go-reuseport, the baseline, in rate/go (1.11×–1.25×).",
		result.Tie:   "sockdist-go: connections/s can't be told apart from that of go-reuseport, the baseline, in rate/go.",
	} {
		if !strings.Contains(said[v], want) {
			t.Errorf("%q is not in:\n%s", want, said[v])
		}
	}
}

func TestNothingAndSomething(t *testing.T) {
	lost := result.Metric{Name: "lost", Title: "lost", Unit: "%"}
	rounds := func(v float64) (all []result.Sample) {
		for range 5 {
			all = append(all, result.Sample{Values: map[string]float64{"lost": v}})
		}
		return all
	}
	for _, test := range []struct {
		base, own float64
		verdict   result.Verdict
		want      string
	}{
		{0, 3, result.Worse, "sockdist-go: lost is 3.00 %, and 0 with go-reuseport, the baseline, in crash."},
		{3, 0, result.Better, "sockdist-go: lost is 0, and 3.00 % with go-reuseport, the baseline, in crash."},
	} {
		c := result.CaseResult{Workload: "crash", Name: "crash", Baseline: "go-reuseport", Metrics: []result.Metric{lost},
			Rows: []result.Row{{Contender: "go-reuseport", Rounds: rounds(test.base)}, {Contender: "sockdist-go", Rounds: rounds(test.own)}}}
		c.Judge()
		some := findings(contests(around(5, c)), test.verdict)
		if len(some) != 1 || some[0].sentence() != test.want {
			t.Errorf("%v", some)
		}
	}
}

func TestSides(t *testing.T) {
	s := newSides(made())
	policies := &result.CaseResult{Baseline: "hash-select", Rows: []result.Row{{Contender: "hash-select"}, {Contender: "least"}, {Contender: "p2c"}}}
	idlers := &result.CaseResult{Baseline: "haproxy", Rows: []result.Row{{Contender: "haproxy"}, {Contender: "node-cluster"}, {Contender: "attach"}}}
	for _, test := range []struct {
		c             *result.CaseResult
		row           string
		ours, variant bool
	}{
		{policies, "hash-select", false, true}, {policies, "least", true, false}, {policies, "p2c", true, true},
		{idlers, "haproxy", false, false}, {idlers, "node-cluster", false, false}, {idlers, "attach", true, false},
		{idlers, "sockdist-go", true, false}, {idlers, "sockdist-go-worker", true, false}, {idlers, "sockdist-go-rr", true, true},
		{idlers, "nginx-attached", true, false}, {idlers, "go-master-rr", false, false}, {idlers, "sockdist-unheard-of", true, false},
	} {
		if got := s.ours(test.c, test.row); got != test.ours {
			t.Errorf("%s: ours %v", test.row, got)
		}
		if got := s.variant(test.c, test.row); got != test.variant {
			t.Errorf("%s: variant %v", test.row, got)
		}
	}
}
