package workload

import (
	"context"
	"fmt"
	"time"

	"github.com/sockdist/sockdist/bench/contender"
	"github.com/sockdist/sockdist/bench/load"
	"github.com/sockdist/sockdist/bench/result"
)

// keepalive is requests over connections that stay. Each connection is placed
// once; what a choice is worth then depends on how many there are, and on how
// much they ask for.
var keepalive = Workload{
	Name:  "keepalive",
	Title: "Kept connections",
	Cases: func(size Size) (cases []Case) {
		for _, f := range inTime(keepaliveFamilies, size) {
			for _, k := range keptCases(size) {
				cases = append(cases, k.equal(f), k.unequal(f))
			}
		}
		return cases
	},
}

// keepaliveFamily is who is compared.
type keepaliveFamily struct {
	family     contender.Family
	contenders []string // the baseline first
}

var keepaliveFamilies = []keepaliveFamily{
	{contender.Node, []string{"node-reuseport", "node-cluster", "pm2", "sockdist-node",
		"haproxy-tcp-node", "haproxy-http-node", "nginx-stream-node", "nginx-http-node", "nginx-http-keepalive-node"}},
	{contender.Go, []string{"go-reuseport", "go-master-least", "sockdist-go", "sockdist-go-worker",
		"haproxy-tcp-go", "haproxy-http-go", "nginx-stream-go", "nginx-http-go"}},
}

// inTime are the families that there is time for.
func inTime(all []keepaliveFamily, size Size) []keepaliveFamily {
	if size == Quick {
		return all[:1]
	}
	return all
}

// A keptCase is a number of connections.
type keptCase struct {
	size        Size
	name        string
	connections int
	warm        time.Duration
	length      time.Duration // of equal rates
	openLength  time.Duration // of unequal ones
}

func keptCases(size Size) []keptCase {
	if size == Quick {
		return []keptCase{{size, "many", 256, 50 * time.Millisecond, 400 * time.Millisecond, 1500 * time.Millisecond}}
	}
	return []keptCase{
		{size, "few", 8, 100 * time.Millisecond, time.Second, 2500 * time.Millisecond},
		{size, "many", 256, 100 * time.Millisecond, time.Second, 2500 * time.Millisecond},
	}
}

// names are the contenders of a family, fewer when there is little time.
func (f keepaliveFamily) names(size Size) []string { return fewer(f.contenders, size) }

// equal is a closed loop: each connection asks as soon as it has its answer.
func (k keptCase) equal(f keepaliveFamily) Case {
	return Case{
		Name:       fmt.Sprintf("keepalive/%s/%s/equal", f.family, k.name),
		Title:      fmt.Sprintf("%d kept connections that ask as fast as they get answers; %s", k.connections, titles[f.family]),
		Contenders: f.names(k.size), Baseline: f.contenders[0],
		Metrics: []result.Metric{{Name: "rate", Title: "throughput", Unit: "/s", Higher: true}, serverCost, softirqCost, latency("p99"), jainColumn},
		Note:    "The client asks less of a server that is slow, so that p99 flatters those.",
		Length:  k.warm + k.length + 50*time.Millisecond, Start: time.Second,
		Measure: k.measureEqual,
	}
}

func (k keptCase) measureEqual(ctx context.Context, e Env, c *contender.Contender, _ Round) (s result.Sample, err error) {
	f, err := kept(ctx, e, c)
	if err != nil {
		return s, err
	}
	connections, err := load.Keep(ctx, f.Address, k.connections)
	if err != nil {
		return s, err
	}
	defer connections.Close()
	connections.Loop(ctx, k.warm)
	before, err := spent(e, f)
	if err != nil {
		return s, err
	}
	tally := connections.Loop(ctx, k.length)
	after, err := spent(e, f)
	if err != nil {
		return s, err
	}
	s = result.Sample{
		Answered: tally.Answered, Failed: tally.Failed, Histogram: load.Encode(tally.Latency),
		Values: map[string]float64{"rate": tally.Rate(), "p99": milliseconds(tally.Latency, 99)},
		Error:  excuse(tally.Failed, tally.Answered+tally.Failed, tally.Err),
	}
	after.minus(before).each(tally.Answered, s.Values)
	return s, addJain(f, tally.PIDs, &s)
}

// addJain tells how evenly the workers answered.
func addJain(f *contender.Fleet, answers map[int]int, s *result.Sample) error {
	workers, err := f.Workers()
	if err != nil {
		return err
	}
	s.Values[jainColumn.Name] = jain(counts(workers, answers))
	return nil
}

const (
	unequalRate  = 400 // requests a second, of all connections of a contender
	unequalHold  = 4 * time.Millisecond
	unequalWaves = 5 // contenders at once, and each makes a tenth of a CPU busy
)

// unequal is an open loop, with rates as 1 : 1/2 : 1/3 …
func (k keptCase) unequal(f keepaliveFamily) Case {
	w := waves{atOnce: unequalWaves, start: kept, measure: k.measureUnequal}
	return Case{
		Name:       fmt.Sprintf("keepalive/%s/%s/unequal", f.family, k.name),
		Title:      fmt.Sprintf("%d kept connections, rates as 1 : 1/2 : 1/3 …; %s", k.connections, titles[f.family]),
		Contenders: f.names(k.size), Baseline: f.contenders[0],
		Metrics: append(latencies("p99", "p50"), jainColumn, spreadColumn),
		Note: fmt.Sprintf("%d requests/s, each of which keeps a worker for %v. With a choice by connection it is luck whom the busy ones meet: many rounds are needed.",
			unequalRate, unequalHold),
		Length: time.Duration((len(f.names(k.size))+unequalWaves-1)/unequalWaves) * (k.openLength + 200*time.Millisecond), Start: time.Second,
		Together: w.together,
	}
}

func (k keptCase) measureUnequal(ctx context.Context, m member) (s result.Sample, err error) {
	connections, err := load.Keep(ctx, m.fleet.Address, k.connections)
	if err != nil {
		return s, err
	}
	defer connections.Close()
	turns := load.Unequal(m.round.random(), k.connections, unequalRate, k.openLength)
	service := m.env.Service(m.Family, unequalHold)
	for i := range turns {
		turns[i].Service = service
	}
	outcomes := connections.Ask(ctx, turns)
	s = answered(outcomes)
	workers, err := m.fleet.Workers()
	if err != nil {
		return s, err
	}
	by := counts(workers, answers(outcomes))
	s.Values[jainColumn.Name], s.Values[spreadColumn.Name] = jain(by), spread(by)
	return s, nil
}

// answers are how many each process gave.
func answers(outcomes []load.Outcome) map[int]int {
	by := make(map[int]int)
	for i := range outcomes {
		if outcomes[i].Err == nil {
			by[outcomes[i].PID]++
		}
	}
	return by
}
