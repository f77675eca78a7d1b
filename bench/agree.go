package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/sockdist/sockdist/bench/result"
	"github.com/sockdist/sockdist/bench/sim"
	"github.com/sockdist/sockdist/bench/workload"
)

// agreement is by how much a simulated ratio may be off what was measured.
const agreement = 0.15

// simulated are the contenders of workload queue that the simulation knows.
var simulated = []struct{ live, simulated string }{
	{"sockdist-go", "least"},
	{"sockdist-go-p2c", "p2c"},
	{"sockdist-go-rr", "rr"},
	{"go-reuseport", "kernel"},
	{"go-master-rr", "master"},
}

// agree compares the simulation with the queues that were measured: p99 of 8
// workers as a ratio to the shared queue.
func agree(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("bench agree", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	rounds := flags.Int("rounds", 101, "rounds of the simulation, each as long as one that was measured")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(stderr, "usage: bench agree [-rounds 101] RESULTS\nDoes the simulation agree with the workload queue of a run, within 15 %? Exit 1 if not.")
		return 0
	}
	if err != nil || flags.NArg() != 1 || *rounds < 1 {
		return fail(stderr, errors.New("usage: bench agree [-rounds 101] RESULTS"), exitUsage)
	}
	r, err := result.Load(flags.Arg(0))
	if err != nil {
		return fail(stderr, err, exitUsage)
	}
	all, err := match(ctx, r, *rounds)
	if err == nil {
		err = printMatches(stdout, all)
	}
	if err != nil {
		return fail(stderr, err, exitFailed)
	}
	return 0
}

// A matched ratio is one that was measured, and simulated.
type matched struct {
	name      string // of the case
	contender string
	live      result.Ratio
	simulated float64
}

func (m *matched) off() float64 { return m.live.Median/m.simulated - 1 }

// match simulates what the results have of 8 workers.
func match(ctx context.Context, r *result.Results, rounds int) (all []*matched, err error) {
	for i := range r.Cases {
		c := &r.Cases[i]
		scenario, ok := scenarioOf(c)
		if !ok {
			continue
		}
		c.Judge()
		for _, s := range simulated {
			row := c.Row(s.live)
			if row == nil || row.Figures["p99"].Ratio == nil {
				continue
			}
			scenario.Connections = connections(row)
			figure, err := sim.Ratio(ctx, scenario, s.simulated, 0.99, rounds, r.Seed)
			if err != nil {
				return nil, err
			}
			all = append(all, &matched{c.Name, s.live, *row.Figures["p99"].Ratio, figure.Ratio})
		}
	}
	if len(all) == 0 {
		return nil, errors.New("the results have no case queue/8/… that both could do: run bench -only queue/8")
	}
	return all, nil
}

// scenarioOf is what was measured in a case, if that is one of 8 workers and
// the contenders above. A handshake over loopback takes next to nothing of it.
func scenarioOf(c *result.CaseResult) (s sim.Scenario, ok bool) {
	parts := strings.Split(c.Name, "/")
	if len(parts) != 4 || parts[0] != "queue" || parts[1] != "8" {
		return s, false
	}
	load, err := strconv.ParseFloat(parts[3], 64)
	return sim.Scenario{Workers: 8, Load: load, Service: parts[2], Mean: workload.QueueService(8)}, err == nil
}

// connections are those of one round, with the first tenth that isn't counted.
func connections(row *result.Row) int {
	answered := 0
	for _, s := range row.Rounds {
		answered = max(answered, s.Answered)
	}
	return max(100, answered*10/9)
}

// printMatches prints them, and what each contender is off by over all cases.
func printMatches(out io.Writer, all []*matched) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "p99 ÷ shared queue\tcontender\tmeasured\tsimulated\toff by")
	for _, m := range all {
		fmt.Fprintf(w, "%s\t%s\t%.2f (%.2f–%.2f)\t%.2f\t%+.0f %%\n", m.name, m.contender, m.live.Median, m.live.Low, m.live.High, m.simulated, 100*m.off())
	}
	fmt.Fprintln(w)
	var failed error
	for _, s := range simulated {
		off, within, n := overall(all, s.live)
		if n == 0 {
			continue
		}
		fmt.Fprintf(w, "all %d cases\t%s\t\t\t%+.1f %%, %d within %.0f %%\n", n, s.live, 100*off, within, 100*agreement)
		if math.Abs(off) > agreement {
			failed = fmt.Errorf("%s: the simulation is off by %+.0f %% over all cases, where %.0f %% is the limit", s.live, 100*off, 100*agreement)
		}
	}
	return errors.Join(w.Flush(), failed)
}

// overall is the geometric mean of what a contender is off by.
func overall(all []*matched, contender string) (off float64, within, n int) {
	logs := 0.0
	for _, m := range slices.DeleteFunc(slices.Clone(all), func(m *matched) bool { return m.contender != contender }) {
		n++
		logs += math.Log1p(m.off())
		if math.Abs(m.off()) <= agreement {
			within++
		}
	}
	if n == 0 {
		return 0, 0, 0
	}
	return math.Expm1(logs / float64(n)), within, n
}
