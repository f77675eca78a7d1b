package main

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sockdist/sockdist/bench/result"
	"github.com/sockdist/sockdist/bench/sim"
)

// Ratios as the simulation has them agree with it, others don't.
func TestAgree(t *testing.T) {
	for ratio, want := range map[float64]int{1.12: 0, 1.7: exitFailed} {
		path := filepath.Join(t.TempDir(), "r.json")
		if err := measuredAs(ratio).Save(path); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		code := command(t.Context(), []string{"agree", "-rounds", "21", path}, &stdout, &stderr)
		if strings.Contains(stderr.String(), sim.ErrNoCompiler.Error()) {
			t.Skip(sim.ErrNoCompiler)
		}
		if code != want || !strings.Contains(stdout.String(), "sockdist-go") {
			t.Errorf("ratio %g: exit %d, want %d\n%s%s", ratio, code, want, stdout.String(), stderr.String())
		}
	}
}

// measuredAs are results of one cell, in which least has this ratio.
func measuredAs(ratio float64) *result.Results {
	rounds := func(p99 float64) (all []result.Sample) {
		for range 5 {
			all = append(all, result.Sample{Values: map[string]float64{"p99": p99}, Answered: 1000})
		}
		return all
	}
	return &result.Results{Seed: 1, Cases: []result.CaseResult{{
		Workload: "queue", Name: "queue/8/exponential/0.7", Baseline: "go-shared",
		Metrics: []result.Metric{{Name: "p99", Unit: "ms"}},
		Rows:    []result.Row{{Contender: "go-shared", Rounds: rounds(100)}, {Contender: "sockdist-go", Rounds: rounds(100 * ratio)}},
	}}}
}

func TestNothingToAgreeWith(t *testing.T) {
	if _, err := match(t.Context(), &result.Results{}, 1); err == nil || errors.Is(err, sim.ErrNoCompiler) {
		t.Errorf("%v", err)
	}
}
