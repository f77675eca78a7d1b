package workload

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/sockdist/sockdist/bench/contender"
	"github.com/sockdist/sockdist/bench/result"
)

var tinyRound = Round{Seed: 11, Size: Quick}

// good wants a value of each metric, and no error.
func good(t *testing.T, name string, s result.Sample, metrics ...string) {
	t.Helper()
	if s.Error != "" {
		t.Errorf("%s: %s", name, s.Error)
		return
	}
	for _, m := range metrics {
		if v, ok := s.Values[m]; !ok || math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
			t.Errorf("%s: %s is %v, %v", name, m, v, ok)
		}
	}
}

// allGood wants a sample of each.
func allGood(t *testing.T, all []*contender.Contender, samples map[string]result.Sample, metrics ...string) {
	t.Helper()
	for _, c := range all {
		s := samples[c.Name]
		good(t, c.Name, s, metrics...)
		t.Logf("%s: %d answered, %d failed, %v", c.Name, s.Answered, s.Failed, s.Values)
	}
}

func names(metrics []result.Metric) (all []string) {
	for _, m := range metrics {
		all = append(all, m.Name)
	}
	return all
}

// pair is a plain contender and one under sockdist, of a cheap app.
func pair(t *testing.T) []*contender.Contender {
	t.Helper()
	return some(t, "go-reuseport", "sockdist-go")
}

func TestKeepaliveOnce(t *testing.T) {
	e := newEnv(t)
	all := pair(t)
	k := keptCase{Quick, "tiny", 12, 20 * time.Millisecond, 150 * time.Millisecond, 300 * time.Millisecond}
	equal, unequal := k.equal(keepaliveFamilies[1]), k.unequal(keepaliveFamilies[1])
	for _, c := range all {
		s, err := equal.Measure(t.Context(), e, c, tinyRound)
		if err != nil {
			t.Fatal(err)
		}
		good(t, c.Name, s, names(equal.Metrics)...)
		if s.Answered < k.connections || s.Values["rate"] <= 0 {
			t.Errorf("%s: %+v", c.Name, s.Values)
		}
	}
	samples, err := unequal.Together(t.Context(), e, all, tinyRound)
	if err != nil {
		t.Fatal(err)
	}
	allGood(t, all, samples, names(unequal.Metrics)...)
	for _, c := range all {
		if n := samples[c.Name].Answered; n < 60 || n > 200 {
			t.Errorf("%s: %d answered of some 120", c.Name, n)
		}
	}
}

func TestLonglivedOnce(t *testing.T) {
	e := newEnv(t)
	all := pair(t)
	// Nowhere does it matter if the machine stands still for a second.
	l := lives{connections: 400, life: 1500 * time.Millisecond, fill: 500 * time.Millisecond, steady: 2 * time.Second, after: 3 * time.Second}
	c := l.family(Full, contender.Go, "go-reuseport", "sockdist-go")
	samples, err := c.Together(t.Context(), e, all, tinyRound)
	if err != nil {
		t.Fatal(err)
	}
	allGood(t, all, samples, names(c.Metrics)...)
	for _, c := range all {
		s := samples[c.Name]
		if held := s.Values["held"]; math.Abs(held-400) > 120 {
			t.Errorf("%s held %v connections", c.Name, held)
		}
		if len(s.Series) < 15 || s.Values["newcomer"] <= 0 {
			t.Errorf("%s: %d points, a newcomer with %v %%", c.Name, len(s.Series), s.Values["newcomer"])
		}
	}
	if s, ok := samples["sockdist-go"]; ok && s.Values[spreadColumn.Name] > 1.3 {
		t.Errorf("under sockdist, the busiest has %v times the mean", s.Values[spreadColumn.Name])
	}
}

func TestBurstOnce(t *testing.T) {
	e := newEnv(t)
	for _, c := range pair(t) {
		for _, measure := range []func(context.Context, Env, *contender.Contender, Round) (result.Sample, error){measureAtOnce, measureReconnect} {
			s, err := measure(t.Context(), e, c, tinyRound)
			if err != nil {
				t.Fatalf("%s: %v", c.Name, err)
			}
			good(t, c.Name, s, names(burstColumns)...)
			t.Logf("%s: %d, %v", c.Name, s.Answered, s.Values)
			if s.Answered < burstConnections/workersOf/2 || s.Values["all"] <= 0 || s.Values[spreadColumn.Name] < 1 {
				t.Errorf("%s: %d answered, %v", c.Name, s.Answered, s.Values)
			}
		}
	}
}

func TestTrialsOnce(t *testing.T) {
	e := newEnv(t)
	all := pair(t)
	for _, trial := range []struct {
		name string
		trial
		more []string
	}{
		{"stall", trial{length: beforeStall + stallFor + afterStall, happens: stallOne}, nil},
		{"crash", trial{length: 2 * betweenKills, happens: func(ctx context.Context, m member) (map[string]float64, error) { return nil, killSome(ctx, m, 1) }}, nil},
		{"reload", trial{length: time.Second, happens: func(ctx context.Context, m member) (map[string]float64, error) {
			return reloadAll(ctx, m, 300*time.Millisecond)
		}}, []string{"took"}},
	} {
		t.Run(trial.name, func(t *testing.T) {
			w := waves{atOnce: trialAtOnce, start: kept, measure: trial.measure}
			samples, err := w.together(t.Context(), e, all, tinyRound)
			if err != nil {
				t.Fatal(err)
			}
			allGood(t, all, samples, append(names(lossColumns), trial.more...)...)
			for _, c := range all {
				if s := samples[c.Name]; s.Answered < 60 {
					t.Errorf("%s: %d answered", c.Name, s.Answered)
				}
			}
			if plain := samples["go-reuseport"]; trial.name == "stall" && plain.Values["slow"] < 2 { // some 7 %, with luck less
				t.Errorf("a worker that stands still slows down %v %% of plain SO_REUSEPORT's connections", plain.Values["slow"])
			}
		})
	}
}

func TestPickOnce(t *testing.T) {
	newEnv(t)
	c := pickLength{3, 200 * time.Millisecond}.pickCase()
	samples, err := c.Together(t.Context(), nil, nil, tinyRound)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range c.Rows {
		s, ok := samples[row]
		if !ok || s.Answered == 0 {
			t.Errorf("%s: %+v", row, s)
		}
	}
	if samples["least"].Values["ns"] <= 0 {
		t.Errorf("%+v", samples)
	}
}

func TestIdleOnce(t *testing.T) {
	e := newEnv(t)
	i := idling{groups: 2, settle: 300 * time.Millisecond, length: 500 * time.Millisecond}
	c := i.idleCase()
	samples, err := c.Together(t.Context(), e, nil, tinyRound)
	if err != nil {
		t.Fatal(err)
	}
	for _, idler := range i.idlers() {
		s := samples[idler.Name]
		t.Logf("%s: %v", idler.Name, s.Values)
		if idler.Missing() != "" {
			continue
		}
		good(t, idler.Name, s, names(c.Metrics)...)
		if (s.Values["memory"] == 0) != (idler.Name == "attach") {
			t.Errorf("%s: memory %v", idler.Name, s.Values["memory"])
		}
	}
}
