package workload

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/bench/contender"
	"github.com/sockdist/sockdist/bench/load"
	"github.com/sockdist/sockdist/bench/result"
)

// burst is many connections at the same moment.
var burst = Workload{
	Name:  "burst",
	Title: "Many connections at once",
	Cases: func(size Size) (cases []Case) {
		for _, f := range inTime(burstFamilies, size) {
			names := fewer(f.contenders, size)
			cases = append(cases, reconnectCase(f.family, names))
			if size == Full {
				cases = append(cases, atOnceCase(f.family, names))
			}
		}
		return cases
	},
}

var burstFamilies = []keepaliveFamily{
	{contender.Node, []string{"node-reuseport", "node-cluster", "pm2", "sockdist-node", "sockdist-node-p2c", "haproxy-tcp-node", "nginx-stream-node"}},
	{contender.Go, []string{"go-reuseport", "go-master-least", "sockdist-go", "haproxy-tcp-go"}},
}

const (
	burstConnections = 2000
	burstFill        = 500 * time.Millisecond // in which they come, where that isn't what is measured
	burstKill        = 800 * time.Millisecond
	burstSeen        = 200 * time.Millisecond // after the kill, the last has noticed; if not, it is waited for
	burstTimeout     = 2 * time.Second        // of an attempt: some are never answered
	burstLonger      = 10 * time.Second       // is too long
)

var burstColumns = []result.Metric{
	{Name: "all", Title: "until all are served", Unit: "ms"},
	latency("p99"), latency("p50"), spreadColumn,
	{Name: "failed", Title: "attempts that failed"},
}

func reconnectCase(f contender.Family, names []string) Case {
	return Case{
		Name:       fmt.Sprintf("burst/%s/reconnect", f),
		Title:      fmt.Sprintf("%d upgraded connections, one of 4 workers is killed, its clients come back at once; %s", burstConnections, titles[f]),
		Contenders: names, Baseline: names[0], Metrics: burstColumns,
		Note: "From when a client notices, but for all: from the kill. An attempt that fails is made again after 20 ms, and one fails after 2 s without an answer. " +
			"The spread is of where they land, over the workers that they find.",
		Length: burstKill + burstSeen + time.Second, Start: time.Second,
		Measure: measureReconnect,
	}
}

func measureReconnect(ctx context.Context, e Env, c *contender.Contender, round Round) (s result.Sample, err error) {
	f, err := kept(ctx, e, c)
	if err != nil {
		return s, err
	}
	pid, err := anyOf(member{fleet: f, round: round}, 0)
	if err != nil {
		return s, err
	}
	begin := time.Now()
	var killed atomic.Int64                                  // since the begin
	served, over := make(chan struct{}), make(chan struct{}) // all connections; the run
	allServed := sync.OnceFunc(func() { close(served) })
	dead := make(chan error, 1)
	go func() {
		err := pause(ctx, begin.Add(burstKill))
		select {
		case <-served:
		case <-over: // and that is told
			dead <- err
			return
		}
		if err == nil {
			killed.Store(int64(time.Since(begin)))
			err = unix.Kill(pid, unix.SIGKILL)
		}
		dead <- err
	}()
	tally := load.Held{
		Server: f.Address, Visits: visitsWithin(burstConnections, burstFill), Length: burstLonger, Timeout: burstTimeout, Start: begin, Return: true,
		Enough: func(now load.HeldTally) bool {
			allServed()
			at := killed.Load()
			return at != 0 && time.Since(begin) > time.Duration(at)+burstSeen && now.Held[pid] == 0
		},
	}.Run(ctx)
	close(over)
	if err := <-dead; err != nil {
		return s, err
	}
	s = reconnected(tally, time.Duration(killed.Load()))
	if killed.Load() != 0 {
		err = whole(ctx, f, workersOf, pid)
	}
	return s, errors.Join(err, ctx.Err())
}

// visitsWithin come at an even pace, to stay.
func visitsWithin(n int, d time.Duration) []load.Visit {
	visits := make([]load.Visit, n)
	for i := range visits {
		visits[i] = load.Visit{At: d * time.Duration(i) / time.Duration(n), Stay: burstLonger}
	}
	return visits
}

// reconnected are the values of those that were lost with a worker.
func reconnected(tally load.HeldTally, killed time.Duration) result.Sample {
	h := load.NewHistogram()
	landed := make(map[int]int)
	var last time.Duration
	for _, r := range tally.Returns {
		load.Record(h, r.Back-r.Lost)
		landed[r.To]++
		last = max(last, r.Back-killed)
	}
	var by []float64
	for _, n := range landed {
		by = append(by, float64(n))
	}
	for len(by) < workersOf-1 { // who stayed must be found
		by = append(by, 0)
	}
	s := result.Sample{
		Values: map[string]float64{"all": float64(last) / 1e6, "p99": milliseconds(h, 99), "p50": milliseconds(h, 50),
			spreadColumn.Name: spread(by), "failed": float64(tally.Failed)},
		Answered: len(tally.Returns), Failed: tally.Failed, Histogram: load.Encode(h),
	}
	switch {
	case tally.Waiting > 0:
		s.Error = fmt.Sprintf("%d of %d aren't served %v later: %v", tally.Waiting, burstConnections, burstLonger, tally.Err)
	case tally.Lost == 0:
		s.Error = "the worker that was killed held no connection"
	}
	return s
}

func atOnceCase(f contender.Family, names []string) Case {
	return Case{
		Name:       fmt.Sprintf("burst/%s/at-once", f),
		Title:      fmt.Sprintf("%d connections to be upgraded, all due at the same moment; %s", burstConnections, titles[f]),
		Contenders: names, Baseline: names[0], Metrics: burstColumns,
		Note:   "One client thread makes them, in some 40 ms.",
		Length: time.Second, Start: time.Second,
		Measure: measureAtOnce,
	}
}

func measureAtOnce(ctx context.Context, e Env, c *contender.Contender, _ Round) (s result.Sample, err error) {
	f, err := kept(ctx, e, c)
	if err != nil {
		return s, err
	}
	tally := load.Held{
		Server: f.Address, Visits: visitsWithin(burstConnections, 0), Length: burstLonger, Timeout: burstTimeout,
		Enough: func(load.HeldTally) bool { return true },
	}.Run(ctx)
	workers, err := f.Workers()
	if err != nil {
		return s, err
	}
	s = result.Sample{
		Values: map[string]float64{"all": milliseconds(tally.Latency, 100), "p99": milliseconds(tally.Latency, 99), "p50": milliseconds(tally.Latency, 50),
			spreadColumn.Name: spread(counts(workers, tally.Held)), "failed": float64(tally.Failed)},
		Answered: tally.Served, Failed: tally.Failed, Histogram: load.Encode(tally.Latency),
	}
	if tally.Waiting > 0 {
		s.Error = fmt.Sprintf("%d of %d aren't served after %v: %v", tally.Waiting, burstConnections, burstLonger, tally.Err)
	}
	return s, ctx.Err()
}
