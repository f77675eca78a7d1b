package workload

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/sockdist/sockdist/bench/load"
)

func TestCells(t *testing.T) {
	if n := len(cells()); n != 48 {
		t.Errorf("%d cells", n)
	}
	if n := len(queue.Cases(Quick)); n != 4 {
		t.Errorf("%d cases in the quick size", n)
	}
	c := cell{8, load.Exponential, 0.85, queueService}
	if c.name() != "queue/8/exponential/0.85" {
		t.Error(c.name())
	}
}

// What the arrivals of a cell ask for is the load that it says.
func TestCellsHaveTheirLoad(t *testing.T) {
	for _, c := range cells() {
		const length = 200 * time.Second
		arrivals := c.arrivals(1, length)
		var work time.Duration
		for _, a := range arrivals {
			work += a.Service
		}
		got := work.Seconds() / length.Seconds() / float64(c.workers)
		if tolerance := map[bool]float64{true: 0.25, false: 0.03}[c.service == load.HeavyTailed]; math.Abs(got/c.load-1) > tolerance {
			t.Errorf("%s: load %.3f", c.name(), got)
		}
		if !slices.Equal(arrivals, c.arrivals(1, length)) {
			t.Errorf("%s: the same seed gives other arrivals", c.name())
		}
	}
}

func TestSince(t *testing.T) {
	outcomes := []load.Outcome{{At: 1}, {At: 2}, {At: 2}, {At: 5}}
	for from, want := range map[time.Duration]int{0: 4, 2: 3, 3: 1, 6: 0} {
		if got := len(since(outcomes, from)); got != want {
			t.Errorf("since %d there are %d, not %d", from, got, want)
		}
	}
}

// With real contenders, for a moment.
func TestQueueMeasures(t *testing.T) {
	e := newEnv(t)
	all := some(t, "go-shared", "go-reuseport", "go-master-least", "sockdist-go", "haproxy-tcp-go")
	c := cell{4, load.Exponential, 0.5, queueService}
	for round := range 2 {
		samples, err := c.measure(t.Context(), e, all, Round{Number: round, Seed: uint64(round)}, 500*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		for _, contender := range all {
			s := samples[contender.Name]
			if s.Error != "" || s.Answered < 50 || s.Values["p50"] < 1 || s.Values["p99"] < s.Values["p50"] || s.Histogram == "" {
				t.Errorf("%s: %+v", contender.Name, s)
			}
		}
	}
	if len(e.kept) != len(all) {
		t.Errorf("%d fleets were started for %d contenders", len(e.kept), len(all))
	}
}
