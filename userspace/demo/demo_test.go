package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/loader"
	"go.uber.org/goleak"
)

const workerVariable = "SOCKDIST_DEMO_TEST_WORKER"

// TestMain lets the test binary be a worker.
func TestMain(m *testing.M) {
	number, service, isWorker := strings.Cut(os.Getenv(workerVariable), " ")
	if !isWorker {
		goleak.VerifyTestMain(m)
		return
	}
	n, _ := strconv.Atoi(number)
	d, _ := time.ParseDuration(service)
	if err := Worker(n, d); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func testWorker(number int, service time.Duration) []string {
	return []string{"/usr/bin/env", fmt.Sprintf("%s=%d %v", workerVariable, number, service), os.Args[0]}
}

type countingScreen struct{ drawn int }

func (s *countingScreen) Draw(Result) { s.drawn++ }

func newHost(t *testing.T) *loader.Host {
	privilege.Require(t)
	machine, err := loader.Open(loader.Options{})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(filepath.Dir(filepath.Dir(machine.Dir())), fmt.Sprintf("sockdist-demotest-%d", os.Getpid()))
	host, err := loader.Open(loader.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Remove(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left", dir)
		}
	})
	return host
}

func TestRunAccountsForEveryConnection(t *testing.T) {
	host := newHost(t)
	screen := new(countingScreen)
	r, err := Run(t.Context(), host, Plan{Duration: 2 * time.Second, Workers: 3}, testWorker, screen)
	if err != nil {
		t.Fatal(err)
	}
	for name, side := range map[string]Side{"hash": r.Hash, "least": r.Least} {
		served := 0
		for i, share := range side.Shares {
			served += share.Served
			if share.Served == 0 {
				t.Errorf("%s: worker %d served nothing", name, i)
			}
		}
		if side.Sent == 0 || side.Failed != 0 || side.Answered != side.Sent || served != side.Sent {
			t.Errorf("%s: sent %d, answered %d, failed %d, workers served %d", name, side.Sent, side.Answered, side.Failed, served)
		}
		if side.P50 <= 0 || side.P99 < side.P50 || side.Max < side.P99 {
			t.Errorf("%s: p50 %v, p99 %v, max %v", name, side.P50, side.P99, side.Max)
		}
	}
	if screen.drawn == 0 {
		t.Error("nothing was drawn")
	}
	if names, err := host.Groups(); err != nil || len(names) != 0 {
		t.Errorf("groups left: %v, %v", names, err)
	}
	var table bytes.Buffer
	r.Write(&table, 0)
	for _, want := range []string{"worker 2 (8 ms each)", "p99", "answered"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in\n%s", want, &table)
		}
	}
	t.Logf("\n%s\n%s", &table, r.Verdict())
}

func TestRunEndsEarly(t *testing.T) {
	host := newHost(t)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	r, err := Run(ctx, host, Plan{Duration: MaxDuration, Workers: 2}, testWorker, new(countingScreen))
	if err != nil {
		t.Fatal(err)
	}
	if r.Hash.Answered != r.Hash.Sent || r.Least.Answered != r.Least.Sent {
		t.Errorf("an early end lost connections: %+v", r)
	}
}

func TestPlanCheck(t *testing.T) {
	for _, bad := range []Plan{{0, 4}, {MaxDuration + 1, 4}, {time.Second, 1}, {time.Second, MaxWorkers + 1}, {-time.Second, 4}} {
		if err := bad.Check(); !errors.Is(err, ErrPlan) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if err := (Plan{10 * time.Second, 4}).Check(); err != nil {
		t.Error(err)
	}
}

func TestVerdictIsHonest(t *testing.T) {
	side := func(p99 float64, failed int) Side { return Side{Sent: 1000, Answered: 1000, P99: p99, Failed: failed} }
	for want, r := range map[string]Result{
		"sockdist wins":  {Hash: side(100, 0), Least: side(10, 0)},
		"sockdist loses": {Hash: side(10, 0), Least: side(100, 0)},
		"A tie":          {Hash: side(10, 0), Least: side(10.5, 0)},
		"got no answer":  {Hash: side(10, 3), Least: side(10, 0)},
		"Too few":        {},
	} {
		if got := r.Verdict(); !strings.Contains(got, want) {
			t.Errorf("verdict %q has no %q", got, want)
		}
	}
}

func TestTableFitsWidth(t *testing.T) {
	side := Side{Sent: 4725000, Answered: 4724999, Failed: 1, P50: 1234.5, P99: 12345.6, Max: 19999.9}
	for i := range MaxWorkers {
		side.Shares = append(side.Shares, Share{Service: 8, Served: 99999, Connections: uint64(i), Most: uint64(100 * i % 999)})
	}
	for width := MinWidth; width < 200; width++ {
		var table bytes.Buffer
		Result{Seconds: 600, Planned: 600, Rate: 7875, Hash: side, Least: side}.Write(&table, width)
		for line := range strings.Lines(table.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n >= width {
				t.Fatalf("%d columns in a terminal of %d: %s", n, width, line)
			}
		}
	}
}
