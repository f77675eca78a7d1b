package workload

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// takes is how long cases take in all, starts aside.
func takes(cases []Case, rounds int) (total time.Duration) {
	for _, c := range cases {
		each := time.Duration(1)
		if c.Measure != nil {
			each = time.Duration(len(c.Contenders))
		}
		total += time.Duration(rounds)*each*c.Length + time.Duration(len(c.Contenders))*c.Start
	}
	return total
}

func TestCasesAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, w := range []Workload{rate, queue, uneven} {
		for _, c := range w.Cases(Full) {
			if seen[c.Name] || !strings.HasPrefix(c.Name, w.Name+"/") {
				t.Errorf("%s isn't a name for a case of %s", c.Name, w.Name)
			}
			seen[c.Name] = true
			if !slices.Contains(c.Contenders, c.Baseline) {
				t.Errorf("%s: the baseline %s is none of its contenders", c.Name, c.Baseline)
			}
			if (c.Measure == nil) == (c.Together == nil) || c.Title == "" || c.Length == 0 || len(c.Metrics) == 0 {
				t.Errorf("%s: %+v", c.Name, c)
			}
			names := slices.Clone(c.Contenders)
			slices.Sort(names)
			if len(slices.Compact(names)) != len(c.Contenders) {
				t.Errorf("%s: somebody is twice in %v", c.Name, c.Contenders)
			}
		}
		for _, c := range w.Cases(Quick) {
			if !seen[c.Name] {
				t.Errorf("%s is in the quick size alone", c.Name)
			}
		}
	}
}

// The parts of the time that all workloads have together.
func TestCasesFitTheirTime(t *testing.T) {
	for _, test := range []struct {
		workload    Workload
		quick, full time.Duration
	}{
		{rate, 90 * time.Second, 10 * time.Minute},
		{queue, 60 * time.Second, 21 * time.Minute},
		{uneven, 25 * time.Second, 3 * time.Minute},
	} {
		quick, full := takes(test.workload.Cases(Quick), 3), takes(test.workload.Cases(Full), 5)
		t.Logf("%s: %v, %v", test.workload.Name, quick, full)
		if quick > test.quick || full > test.full {
			t.Errorf("%s takes %v (quick, 3 rounds) and %v (full, 5 rounds)", test.workload.Name, quick, full)
		}
	}
}
