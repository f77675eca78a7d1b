package sim

import (
	"fmt"
	"testing"
)

// The same seed, the same result.
func TestSimulationIsDeterministic(t *testing.T) {
	s := Scenario{
		Workers: 16, Load: 0.8, Service: "heavy-tailed", Connections: 2000, RTT: 0.5, Fin: AsRTT, Requests: 3, Think: 2, Reports: 4,
		Crash: true, Every: 100, Back: 20, Burst: 30,
	}
	for _, name := range Contenders() {
		a, b := simulate(t, s, name, 7), simulate(t, s, name, 7)
		if a.Quantile(0.99) != b.Quantile(0.99) || a.Mean() != b.Mean() || a.Longest != b.Longest || a.Lost != b.Lost {
			t.Errorf("%s: %v and %v", name, a, b)
		}
		if other := simulate(t, s, name, 8); other.Mean() == a.Mean() {
			t.Errorf("%s: another seed has the same mean, %v", name, a.Mean())
		}
	}
}

// Whatever befalls workers: every request that came is answered in the end, and counts return to zero.
func TestNothingIsForgotten(t *testing.T) {
	for _, s := range []Scenario{
		{RTT: 1, Fin: AsRTT},
		{Crash: true, Every: 50, Back: 10, RTT: 0.2},
		{Crash: true, Every: 5, Back: 40, Burst: 20, RTT: 3, Fin: AsRTT},
		{Drain: true, Every: 50, Back: 10, RTT: 0.2, Fin: AsRTT},
		{Drain: true, Every: 20, Back: 0, Requests: 5, Think: 1},
		{Crash: true, Every: 100, Back: 10, Requests: 5, Think: 1, Reports: Always},
		{Slow: 4, Reports: 3},
		{Speeds: []int{50, 100, 300}, Weighed: true},
	} {
		s.Workers, s.Load, s.Service, s.Connections = 12, 0.6, "exponential", 4000
		for _, name := range Contenders() {
			t.Run(fmt.Sprint(s, name), func(t *testing.T) {
				r := simulate(t, s, name, 1)
				measured := int64(max(s.Requests, 1)) * 3600
				if r.Requests+r.Refused < measured || s.Burst == 0 && r.Requests != measured {
					t.Errorf("%d requests measured, %d refused: %d came", r.Requests, r.Refused, measured)
				}
				if !s.Crash && name != "kernel" && name != "master" && (r.Lost > 0 || r.Refused > 0) {
					t.Errorf("%d lost, %d refused, and no worker died", r.Lost, r.Refused)
				}
			})
		}
	}
}

// What waited at a worker that died is served by others, where a program steers.
func TestCrashMigratesQueues(t *testing.T) {
	s := Scenario{Workers: 8, Load: 0.9, Service: "exponential", Connections: 50_000, Crash: true, Every: 100, Back: 10}
	least, kernel := simulate(t, s, "least", 1), simulate(t, s, "kernel", 1)
	if least.Migrated == 0 || kernel.Migrated > 0 || least.Lost*2 > kernel.Lost {
		t.Errorf("least: %d migrated, %d lost; kernel: %d, %d", least.Migrated, least.Lost, kernel.Migrated, kernel.Lost)
	}
}

// What another one measures live can be compared with this.
func TestRatioIsThatOfTheCell(t *testing.T) {
	s := Scenario{Workers: 8, Load: 0.7, Service: "exponential", Connections: 20_000}
	row, err := Cell(t.Context(), s, "p2c", 3, 1)
	needCompiler(t, err)
	f, again := Ratio(t.Context(), s, "p2c", 0.99, 3, 1)
	if err != nil || again != nil || f != row.P99 || f.Low > f.Ratio || f.High < f.Ratio || f.Ratio < 1 {
		t.Errorf("%v, %v: %v and %v", err, again, f, row.P99)
	}
}

func BenchmarkLeast(b *testing.B) {
	for b.Loop() {
		if _, err := Simulate(b.Context(), Scenario{Workers: 64, Load: 0.85, Service: "exponential", RTT: 1, Connections: 100_000}, "least", 1); err != nil {
			b.Fatal(err)
		}
	}
}
