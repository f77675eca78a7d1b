package workload

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sockdist/sockdist/bench/contender"
	"github.com/sockdist/sockdist/bench/load"
)

func TestLosses(t *testing.T) {
	outcomes := []load.Outcome{
		{Latency: 2 * time.Millisecond}, {Latency: 2 * time.Millisecond}, {Latency: 2 * time.Millisecond},
		{Latency: 1500 * time.Millisecond},
		{Err: fmt.Errorf("x: %w", load.ErrReset)}, {Err: load.ErrRefused}, {Err: load.ErrRefused}, {Err: load.ErrTimeout},
	}
	s := losses(outcomes)
	for name, want := range map[string]float64{"lost": 50, "slow": 12.5, "reset": 12.5, "refused": 25, "timeouts": 12.5} {
		if s.Values[name] != want {
			t.Errorf("%s is %v, want %v", name, s.Values[name], want)
		}
	}
	if s.Answered != 4 || s.Failed != 4 || s.Values["max"] < 1490 || s.Values["max"] > 1510 || s.Error != "" {
		t.Errorf("%+v", s)
	}
	if _, ok := losses(outcomes[4:]).Values["p99"]; ok {
		t.Error("there is a latency of nothing")
	}
}

// TestLastingCasesAreWhole looks at all cases of these workloads, at both sizes.
func TestLastingCasesAreWhole(t *testing.T) {
	for _, size := range []Size{Quick, Full} {
		for _, w := range []Workload{keepalive, longlived, burst, stall, crash, reload, pick, idle} {
			for _, c := range w.Cases(size) {
				checkCase(t, w, c)
			}
		}
	}
}

func checkCase(t *testing.T, w Workload, c Case) {
	t.Helper()
	rows := slices.Concat(c.Contenders, c.Rows)
	if !slices.Contains(rows, c.Baseline) {
		t.Errorf("%s: its baseline %s isn't in it", c.Name, c.Baseline)
	}
	if slices.Sort(rows); len(slices.Compact(rows)) != len(c.Contenders)+len(c.Rows) || (c.Rows == nil) == (c.Contenders == nil) {
		t.Errorf("%s: rows %v", c.Name, rows)
	}
	if len(c.Name) <= len(w.Name) || c.Name[:len(w.Name)+1] != w.Name+"/" {
		t.Errorf("%s isn't named after %s", c.Name, w.Name)
	}
	if (c.Measure == nil) == (c.Together == nil) || c.Length <= 0 || len(c.Metrics) == 0 {
		t.Errorf("%s isn't whole: %+v", c.Name, c)
	}
	for _, name := range c.Contenders {
		if contender.ByName(name) == nil {
			t.Errorf("%s: there is no contender %s", c.Name, name)
		}
	}
}

func TestBaselines(t *testing.T) {
	for _, c := range []struct {
		f     contender.Family
		names []string
		want  string
	}{
		{contender.Node, []string{"node-cluster", "node-reuseport"}, "node-reuseport"},
		{contender.Python, []string{"sockdist-gunicorn", "uvicorn", "gunicorn"}, "gunicorn"},
		{contender.Nginx, []string{"nginx-attached"}, "nginx-attached"},
	} {
		if got := baselineOf(c.f, c.names); got != c.want {
			t.Errorf("%v: %s, want %s", c.names, got, c.want)
		}
	}
}
