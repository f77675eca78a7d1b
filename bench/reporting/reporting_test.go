package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/privilege"
)

// TestMain makes this program a worker, where the bench starts it as one.
func TestMain(m *testing.M) {
	if os.Getenv(workerVariable) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestParse(t *testing.T) {
	o, err := parse([]string{"-quick", "-only", "costs,each", "-workers", "2,3"})
	if err != nil || o.rounds != 1 || len(o.only) != 2 || !slices.Equal(o.workers, []int{2, 3}) {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err := parse(nil); err != nil || o.rounds != 3 || len(o.only) != len(parts) || !slices.Equal(o.workers, []int{4}) {
		t.Errorf("%+v, %v", o, err)
	}
	for _, args := range []string{"-only nothing", "-workers 1", "-workers x", "-rounds -1", "-length -1s", "argument"} {
		if _, err := parse(strings.Fields(args)); err == nil || errors.Is(err, flag.ErrHelp) {
			t.Errorf("%s: %v, want an error", args, err)
		}
	}
}

// Plans have the connections and requests that a kind says, in order, and are
// the same for a seed.
func TestPlans(t *testing.T) {
	kinds := []kind{
		{name: "kept", alive: 50, life: time.Second, rate: 20, cost: 1},
		{name: "single", alive: 2, rate: 100, cost: 1},
	}
	const length = 20 * time.Second
	of := func(seed uint64) []plan { return plans(kinds, length, rand.New(rand.NewPCG(seed, 0))) }
	all := of(1)
	requests := make(map[string]float64)
	for i, p := range all {
		if i > 0 && p.due[0] < all[i-1].due[0] || !slices.IsSorted(p.due) || p.due[len(p.due)-1] >= length {
			t.Fatalf("plan %d isn't in order: %v", i, p.due)
		}
		requests[p.kind.name] += float64(len(p.due))
	}
	// 50 alive with 20 requests a second, and the request that each comes with.
	for name, want := range map[string]float64{"kept": length.Seconds() * 50 * 21, "single": length.Seconds() * 200} {
		if got := requests[name]; math.Abs(got/want-1) > 0.15 {
			t.Errorf("%s: %.0f requests, want about %.0f", name, got, want)
		}
	}
	if again := of(1); len(again) != len(all) || !slices.Equal(again[7].due, all[7].due) {
		t.Error("the same seed has another plan")
	}
}

// Ratios are of the same round.
func TestFigures(t *testing.T) {
	c := newComparison(question{reporters: []reporter{connections, excess}, kinds: []kind{{name: "all"}}})
	for i, x := range []float64{1, 10, 2} {
		c.Rows[0].samples = append(c.Rows[0].samples, sample{p99: x})
		c.Rows[1].samples = append(c.Rows[1].samples, sample{p99: []float64{3, 10, 1}[i], requests: 5})
	}
	c.conclude()
	if f, r := c.Rows[1].P99, c.Rows[1]; f != (figure{Median: 3, Ratio: 1, Low: 0.5, High: 3}) || r.Requests != 15 {
		t.Errorf("%+v, %d", f, r.Requests)
	}
	if j := jain([]int{5, 5, 5, 5}); j != 1 {
		t.Errorf("all alike: %v", j)
	}
	if j := jain([]int{9, 0, 0}); math.Abs(j-1./3) > 1e-9 {
		t.Errorf("one has all: %v", j)
	}
	if b := busiest(map[string]int{"0": 30, "1": 10}, 4); b != 3 {
		t.Errorf("busiest: %v", b)
	}
}

// It really measures, with real workers.
func TestRun(t *testing.T) {
	privilege.Require(t)
	out := filepath.Join(t.TempDir(), "results.json")
	o, err := parse([]string{"-workers", "2", "-rounds", "1", "-length", "300ms", "-settle", "1.5s", "-only", "streams,each,rebalance", "-o", out})
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := run(t.Context(), o, &text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"STREAMS, 2 workers", "p99 of heavy", "EACH, 2 workers", "a pick, ns", "REBALANCE", "rebalance on"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q isn't in\n%s", want, &text)
		}
	}
	var saved struct {
		Parts map[string]json.RawMessage
	}
	saves, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(saves, &saved); err != nil || len(saved.Parts) != 3 {
		t.Errorf("%d parts, %v", len(saved.Parts), err)
	}
}
