package workload

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sockdist/sockdist/bench/contender"
	cost "github.com/sockdist/sockdist/bench/pick"
	"github.com/sockdist/sockdist/bench/result"
)

// pick is what the programs of the kernel side cost.
var pick = Workload{
	Name:  "pick",
	Title: "What a pick costs",
	Cases: func(size Size) (cases []Case) {
		lengths := []pickLength{{2, time.Second}, {8, time.Second}, {64, 2 * time.Second}, {256, 3 * time.Second}}
		if size == Quick {
			lengths = []pickLength{{8, 500 * time.Millisecond}, {64, time.Second}}
		}
		for _, l := range lengths {
			cases = append(cases, l.pickCase())
		}
		return cases
	},
}

// A pickLength is for how long groups of some number of slots are measured.
type pickLength struct {
	slots  int
	length time.Duration
}

func (l pickLength) pickCase() Case {
	rows := slices.DeleteFunc(cost.Names(), func(name string) bool { return name == cost.Clock })
	return Case{
		Name:     fmt.Sprintf("pick/%d", l.slots),
		Title:    fmt.Sprintf("A pick with %d slots, by policy", l.slots),
		Rows:     rows,
		Baseline: cost.Bare,
		Metrics:  []result.Metric{{Name: "ns", Title: "a run of the program", Unit: "ns"}},
		Note: "By the kernel's statistics, without what taking the time costs. hash-select is the least that a program " +
			"does which selects a socket: sockets[hash % n]. Each pick is one of a whole handshake, in the course of which the caches of the CPU get cold.",
		Length: l.length * 2,
		Together: func(ctx context.Context, _ Env, _ []*contender.Contender, _ Round) (map[string]result.Sample, error) {
			return l.measure(ctx, rows)
		},
	}
}

func (l pickLength) measure(ctx context.Context, rows []string) (map[string]result.Sample, error) {
	report, err := cost.Measure(ctx, cost.Options{Slots: []int{l.slots}, Length: l.length, Places: 1})
	if err != nil {
		return nil, err
	}
	samples := make(map[string]result.Sample)
	for _, name := range rows {
		f := report.Columns[0].Figure(name)
		samples[name] = result.Sample{Values: map[string]float64{"ns": f.NS}, Answered: int(f.Runs)}
	}
	return samples, nil
}
