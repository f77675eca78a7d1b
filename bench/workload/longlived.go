package workload

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sockdist/sockdist/bench/contender"
	"github.com/sockdist/sockdist/bench/load"
	"github.com/sockdist/sockdist/bench/result"
)

// longlived is many upgraded connections that come and go, with a worker that
// joins in the middle of it.
var longlived = Workload{
	Name:  "longlived",
	Title: "Long-lived connections",
	Cases: func(size Size) (cases []Case) {
		l := lives{connections: 10000, life: 4 * time.Second, fill: 3 * time.Second, steady: 800 * time.Millisecond, after: 2 * time.Second}
		if size == Quick {
			l = lives{connections: 1500, life: 1500 * time.Millisecond, fill: 400 * time.Millisecond, steady: 500 * time.Millisecond, after: time.Second}
		}
		cases = append(cases, l.family(size, contender.Node, "node-reuseport", "node-cluster", "pm2",
			"sockdist-node", "sockdist-node-p2c", "sockdist-node-rr", "sockdist-node-hash", "haproxy-tcp-node", "nginx-stream-node"))
		if size == Quick {
			return cases
		}
		return append(cases, l.family(size, contender.Go, "go-reuseport", "go-master-least", "sockdist-go"))
	},
}

// lives say how many connections there are, and for how long.
type lives struct {
	connections int
	life        time.Duration // of a connection, on average; exponential
	fill        time.Duration // in which the first ones come
	steady      time.Duration // until the worker joins
	after       time.Duration // until the end
}

const (
	livesEvery = 100 * time.Millisecond // a point of the series
	livesLast  = 500 * time.Millisecond // at the end, are the state after
)

func (l lives) end() time.Duration { return l.fill + l.steady + l.after }

func (l lives) family(size Size, f contender.Family, names ...string) Case {
	w := waves{atOnce: 1, start: l.start, measure: l.measure, stops: true}
	there := fewer(names, size)
	return Case{
		Name:       "longlived/" + string(f),
		Title:      fmt.Sprintf("%d upgraded connections that come and go, and a fifth worker; %s", l.connections, titles[f]),
		Contenders: there, Baseline: names[0],
		Metrics: []result.Metric{
			spreadColumn, jainColumn,
			{Name: "jain after", Title: "Jain's index at the end", Higher: true},
			{Name: "newcomer", Title: "the fifth worker's share of what is fair", Unit: "%", Higher: true},
			{Name: "memory", Title: "memory a connection", Unit: "kB"},
			{Name: "held", Title: "connections", Higher: true},
			{Name: "failed", Title: "attempts that failed"},
			{Name: "ended", Title: "connections that the server ended"},
		},
		Note: fmt.Sprintf("Connections last for %v on average; the worker joins %v after the start, and the end is %v later, when %.0f %% of the connections are new. "+
			"Memory is that of the processes; the kernel's for the sockets is not in it. Where the limit of open files doesn't let a proxy have as many, there are fewer connections, for all.",
			l.life, l.fill+l.steady, l.after, 100*l.renewed()),
		Length:   time.Duration(len(there)) * (l.end() + 800*time.Millisecond),
		Together: w.together,
	}
}

// start starts a fleet that may have as many descriptors as it takes: two a
// connection, if it is a proxy.
func (l lives) start(ctx context.Context, e Env, c *contender.Contender) (*contender.Fleet, error) {
	if _, err := load.Room(2 * l.most()); err != nil {
		return nil, err
	}
	return fresh(ctx, e, c)
}

// most is how many connections there might be at some moment: five standard
// deviations more than on average.
func (l lives) most() int { return l.connections + 5*int(math.Sqrt(float64(l.connections))) }

// fitting has fewer connections where a proxy couldn't open as many files.
func (l lives) fitting() (lives, error) {
	room, err := load.Room(2 * l.most())
	if err == nil && room < 2*l.most() {
		l.connections = room/2 - 5*int(math.Sqrt(float64(room/2)))
	}
	return l, err
}

// visits come at an even pace first, and then at random, as many as go.
func (l lives) visits(r *rand.Rand) []load.Visit {
	life := func() time.Duration { return time.Duration(r.ExpFloat64() * float64(l.life)) }
	var all []load.Visit
	for i := range l.connections {
		at := l.fill * time.Duration(i) / time.Duration(l.connections)
		all = append(all, load.Visit{At: at, Stay: l.fill - at + life()})
	}
	for _, a := range load.Poisson(r, float64(l.connections)/l.life.Seconds(), l.end()-l.fill, "", 0) {
		all = append(all, load.Visit{At: l.fill + a.At, Stay: life()})
	}
	return all
}

// A livesResult is what is known at the end of a measurement.
type livesResult struct {
	workers []int
	joined  int           // the worker that joined; 0: none did
	at      time.Duration // when it served
	rest    uint64        // memory without connections
	full    uint64        // memory with them
	fullAt  time.Duration
}

func (l lives) measure(ctx context.Context, m member) (s result.Sample, err error) {
	if l, err = l.fitting(); err != nil {
		return s, err
	}
	r := livesResult{}
	if r.workers, err = m.fleet.Workers(); err != nil {
		return s, err
	}
	if r.rest, err = m.fleet.Memory(); err != nil {
		return s, err
	}
	m.begin = time.Now()
	beside := make(chan error, 1)
	go func() { beside <- l.grow(ctx, m, &r) }()
	tally := load.Held{Server: m.fleet.Address, Visits: l.visits(m.round.random()), Length: l.end(), Start: m.begin, Every: livesEvery}.Run(ctx)
	if err := <-beside; err != nil {
		return s, err
	}
	return l.sample(tally, r), ctx.Err()
}

// grow reads the memory, and adds a worker where that can be done.
func (l lives) grow(ctx context.Context, m member, r *livesResult) (err error) {
	join := l.fill + l.steady
	if err := pause(ctx, m.begin.Add(join-l.steady/4)); err != nil {
		return err
	}
	r.fullAt = time.Since(m.begin)
	if r.full, err = m.fleet.Memory(); err != nil {
		return err
	}
	if m.fleet.Grow == nil {
		return nil
	}
	if err := pause(ctx, m.begin.Add(join)); err != nil {
		return err
	}
	if err := m.fleet.Grow(ctx); err != nil {
		return fmt.Errorf("add a worker: %w", err)
	}
	r.at = time.Since(m.begin)
	now, err := m.fleet.Workers()
	for _, pid := range now {
		if !slices.Contains(r.workers, pid) {
			r.joined = pid
		}
	}
	return err
}

func (l lives) sample(tally load.HeldTally, r livesResult) result.Sample {
	s := result.Sample{
		Values:   map[string]float64{"failed": float64(tally.Failed), "ended": float64(tally.Lost)},
		Answered: tally.Served, Failed: tally.Failed, Histogram: load.Encode(tally.Latency),
		Error: tooFew(tally),
	}
	for _, moment := range tally.Moments {
		by := r.counts(moment)
		s.Series = append(s.Series, result.Point{Second: moment.At.Seconds(), Values: map[string]float64{
			"held": sum(by), jainColumn.Name: jain(by), spreadColumn.Name: spread(by)}})
	}
	join := (l.fill + l.steady).Seconds()
	for _, name := range []string{"held", jainColumn.Name, spreadColumn.Name} {
		s.Values[name] = meanBetween(s.Series, name, join-0.75*l.steady.Seconds(), join)
	}
	if held := nearest(s.Series, "held", r.fullAt.Seconds()); held > 0 && r.full > r.rest {
		s.Values["memory"] = float64(r.full-r.rest) / 1e3 / held
	}
	if r.joined != 0 {
		end := l.end().Seconds()
		s.Values["jain after"] = meanBetween(s.Series, jainColumn.Name, end-livesLast.Seconds(), end)
		s.Values["newcomer"] = 100 * r.newcomer(tally.Held)
	}
	return s
}

// tooFew is why a measurement doesn't count; "" if it does.
func tooFew(tally load.HeldTally) string {
	all := tally.Served + tally.Waiting
	switch {
	case errors.Is(tally.Err, load.ErrClient):
		return tally.Err.Error()
	case all == 0:
		return "nobody came"
	case float64(tally.Waiting) > tolerable*float64(all):
		return fmt.Sprintf("it can't keep up: %d of %d connections still wait at the end", tally.Waiting, all)
	}
	return ""
}

// counts are those of the workers that there were.
func (r livesResult) counts(m load.Moment) []float64 {
	if r.joined != 0 && m.At >= r.at {
		return counts(append(slices.Clone(r.workers), r.joined), m.Held)
	}
	return counts(r.workers, m.Held)
}

// newcomer is how much of its fair share it has: 1 when it has what the others have.
func (r livesResult) newcomer(held map[int]int) float64 {
	all := counts(append(slices.Clone(r.workers), r.joined), held)
	if sum(all) == 0 {
		return 0
	}
	return all[len(all)-1] / mean(all)
}

// meanBetween is the mean of a value of a series.
func meanBetween(series []result.Point, name string, from, to float64) float64 {
	var values []float64
	for _, p := range series {
		if p.Second >= from && p.Second <= to {
			values = append(values, p.Values[name])
		}
	}
	return mean(values)
}

// nearest is the value of the point that is nearest to a moment.
func nearest(series []result.Point, name string, at float64) (value float64) {
	distance := math.Inf(1)
	for _, p := range series {
		if d := math.Abs(p.Second - at); d < distance {
			distance, value = d, p.Values[name]
		}
	}
	return value
}

// renewed is the share of connections that came after the worker, at the end.
func (l lives) renewed() float64 { return 1 - math.Exp(-l.after.Seconds()/l.life.Seconds()) }
