package scaling

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// step is a decision and when it came.
type step struct {
	at       time.Duration
	from, to int
	why      string
}

// simulate looks at a load each Interval. The steps are done at once.
func simulate(s *Scaler, workers int, length time.Duration, load func(at time.Duration) float64) (steps []step) {
	for at := time.Duration(0); at < length; at += Interval {
		sample := Sample{Workers: workers, Connections: load(at), CPU: load(at) / 1000}
		if d, now := s.Look(time.Hour+at, sample); now {
			steps = append(steps, step{at, workers, d.Workers, d.Why})
			workers = d.Workers
		}
	}
	return steps
}

func constant(x float64) func(time.Duration) float64 { return func(time.Duration) float64 { return x } }

func wantSteps(t *testing.T, got, want []step) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("steps %+v, want %+v", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("step %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestUp(t *testing.T) {
	const s = time.Second
	wantSteps(t, simulate(New(Target{Connections: 200}, 1, 8), 2, time.Hour, constant(452)), []step{
		{5 * s, 2, 3, "226 connections a worker for 5 s, more than 200"},
	})
	wantSteps(t, simulate(New(Target{CPU: 0.8}, 1, 16), 2, time.Hour, constant(7000)), []step{
		{5 * s, 2, 4, "350 % CPU a worker for 5 s, more than 80 %"},
		{20 * s, 4, 8, "175 % CPU a worker for 5 s, more than 80 %"},
		{35 * s, 8, 9, "88 % CPU a worker for 5 s, more than 80 %"},
	})
	// The tighter of two targets counts.
	wantSteps(t, simulate(New(Target{Connections: 1000, CPU: 0.5}, 1, 16), 4, time.Hour, constant(2100)), []step{
		{5 * s, 4, 5, "52 % CPU a worker for 5 s, more than 50 %"},
	})
}

func TestDown(t *testing.T) {
	const s = time.Second
	wantSteps(t, simulate(New(Target{Connections: 200}, 1, 8), 5, time.Hour, constant(300)), []step{
		{30 * s, 5, 4, "60 connections a worker for 30 s, and with one fewer no more than 70 % of 200"},
		{70 * s, 4, 3, "75 connections a worker for 30 s, and with one fewer no more than 70 % of 200"},
	})
	wantSteps(t, simulate(New(Target{Connections: 200}, 2, 8), 3, time.Hour, constant(0)), []step{
		{30 * s, 3, 2, "0 connections a worker for 30 s, and with one fewer no more than 70 % of 200"},
	})
}

func TestBounds(t *testing.T) {
	wantSteps(t, simulate(New(Target{Connections: 200}, 3, 8), 1, time.Minute, constant(0)), []step{{0, 1, 3, "1 of the minimum of 3"}})
	wantSteps(t, simulate(New(Target{Connections: 200}, 1, 4), 9, time.Minute, constant(1e9)), []step{{0, 9, 4, "9, more than the maximum of 4"}})
	wantSteps(t, simulate(New(Target{Connections: 200}, 1, 4), 0, time.Minute, constant(math.Inf(1))), []step{
		{0, 0, 1, "0 of the minimum of 1"},
		{15 * time.Second, 1, 2, "+Inf connections a worker for 5 s, more than 200"},
		{30 * time.Second, 2, 4, "+Inf connections a worker for 5 s, more than 200"},
	})
	wantSteps(t, simulate(New(Target{Connections: 200}, 1, 4), 2, time.Minute, constant(math.NaN())), nil)

	// Also while it pauses, but each once.
	s := New(Target{Connections: 200}, 2, 4)
	for i, c := range []struct{ workers, want int }{{9, 4}, {9, 0}, {1, 2}, {1, 0}, {5, 4}, {4, 0}} {
		d, now := s.Look(time.Duration(i)*Interval, Sample{Workers: c.workers})
		if d.Workers != c.want || now != (c.want != 0) {
			t.Errorf("look %d, with %d workers: %+v, %v, want %d", i, c.workers, d, now, c.want)
		}
	}
}

// TestRepeatsAStepThatWasNotDone once a pause and an observation are over.
func TestRepeatsAStepThatWasNotDone(t *testing.T) {
	for _, workers := range []int{1, 3} { // too few, and too loaded
		s := New(Target{Connections: 100}, 2, 4)
		var at []time.Duration
		for now := range 31 * time.Second / Interval {
			if d, stepped := s.Look(now*Interval, Sample{Workers: workers, Connections: 1000}); stepped {
				at = append(at, now*Interval)
				if d.Workers == workers {
					t.Errorf("a step from %d to %+v", workers, d)
				}
			}
		}
		if want := map[int]int{1: 4, 3: 2}[workers]; len(at) != want {
			t.Errorf("with %d workers at %v, want %d", workers, at, want)
		}
	}
}

// TestHolesInTheObservation has looks that come too seldom, a clock that falls,
// and an operator who changes the number.
func TestHolesInTheObservation(t *testing.T) {
	for name, next := range map[string]func(i int) (time.Duration, int){
		"seldom":   func(i int) (time.Duration, int) { return time.Duration(i) * 6 * Interval, 2 },
		"falls":    func(i int) (time.Duration, int) { return time.Duration(i%5) * Interval, 2 },
		"operator": func(i int) (time.Duration, int) { return time.Duration(i) * Interval, 2 + i/4%2 },
	} {
		s := New(Target{Connections: 100}, 1, 8)
		for i := range 100 {
			now, workers := next(i)
			if d, stepped := s.Look(now, Sample{Workers: workers, Connections: 1000}); stepped {
				t.Errorf("%s: look %d: %+v", name, i, d)
				break
			}
		}
	}
}

// turns counts how often a step up follows on one down.
func turns(steps []step) (count int) {
	for i := 1; i < len(steps); i++ {
		if steps[i-1].to < steps[i-1].from && steps[i].to > steps[i].from {
			count++
		}
	}
	return count
}

func TestConstantLoadSettles(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 80 {
		load, noise := random.Float64()*3000, random.Float64()*0.15
		s := New(Target{Connections: 50 + random.Float64()*200}, 1+random.IntN(2), 2+random.IntN(30))
		steps := simulate(s, 1+random.IntN(20), 3*time.Hour, func(time.Duration) float64 {
			return load * (1 + noise*(2*random.Float64()-1))
		})
		if n := turns(steps); n > 0 {
			t.Errorf("load %.0f ± %.0f %%: %d turns: %+v", load, 100*noise, n, steps)
		}
		// A load just at a mark passes it one day.
		late := 0
		for _, s := range steps {
			if s.at > time.Hour {
				late++
			}
		}
		if late > 1 {
			t.Errorf("load %.0f ± %.0f %%: %d steps after an hour: %+v", load, 100*noise, late, steps)
		}
	}
}

// TestOscillatingLoadSettles has loads that come and go, from within seconds to
// 18 minutes. Each may turn until DownAfter has doubled up to MostDownAfter.
func TestOscillatingLoadSettles(t *testing.T) {
	const length = 12 * time.Hour
	random := rand.New(rand.NewPCG(3, 4))
	shapes := map[string]func(phase float64) float64{
		"square": func(p float64) float64 { return math.Round(p) },
		"sine":   func(p float64) float64 { return (1 + math.Sin(2*math.Pi*p)) / 2 },
		"saw":    func(p float64) float64 { return p },
		"peaks":  func(p float64) float64 { return math.Floor(p + 0.2) },
	}
	for name, shape := range shapes {
		for range 12 {
			period := 2*time.Second + time.Duration(random.Int64N(int64(11*time.Minute)))
			low := random.Float64() * 1000
			swing := random.Float64() * 3000
			s := New(Target{Connections: 100}, 1, 40)
			steps := simulate(s, 1+random.IntN(20), length, func(at time.Duration) float64 {
				return low + swing*shape(float64(at%period)/float64(period))
			})
			if n := turns(steps); n > 6 {
				t.Errorf("%s from %.0f by %.0f, period %s: %d turns", name, low, swing, period, n)
			}
			if n := len(steps); n > 0 && steps[n-1].at > length/2 {
				t.Errorf("%s from %.0f by %.0f, period %s: a step at %s of %d", name, low, swing, period, steps[n-1].at, n)
			}
		}
	}
}

// TestFollowsTheDay has a load of which the peak and the low last for hours.
func TestFollowsTheDay(t *testing.T) {
	s := New(Target{Connections: 100}, 1, 100)
	steps := simulate(s, 1, 72*time.Hour, func(at time.Duration) float64 {
		return 1000 - 900*math.Cos(2*math.Pi*at.Hours()/24)
	})
	least, most := 100, 0
	for _, s := range steps {
		if s.at > 6*time.Hour {
			least, most = min(least, s.to), max(most, s.to)
		}
	}
	if least > 3 || most < 19 || most > 20 || turns(steps) > 3 {
		t.Errorf("from %d to %d workers, %d turns", least, most, turns(steps))
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct {
		target   Target
		min, max int
	}{{Target{}, 1, 2}, {Target{CPU: 1}, 0, 2}, {Target{CPU: 1}, 3, 2}, {Target{CPU: math.NaN()}, 1, 2}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v passes", c)
				}
			}()
			New(c.target, c.min, c.max)
		}()
	}
}
