package workload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sockdist/sockdist/bench/contender"
	"github.com/sockdist/sockdist/bench/load"
	"github.com/sockdist/sockdist/bench/result"
)

// A trial is something that happens to a fleet while it is asked moderately: a
// connection for each request, at random moments.
type trial struct {
	length time.Duration // of the load
	atOnce int           // contenders beside each other
	// happens begins with the load, and may last longer.
	happens func(ctx context.Context, m member) (more map[string]float64, err error)
}

const (
	trialRate    = 120                  // requests a second, of each contender
	trialService = time.Millisecond     // that a worker is kept
	slow         = time.Second          // answers later than that are slow
	trialTimeout = 5 * time.Second      // answers later than that are none
	trialAtOnce  = 8                    // contenders beside each other, which takes a part of a CPU
	settled      = 10 * time.Second     // within which a fleet has to be whole again
	glance       = 5 * time.Millisecond // between two looks
)

// measure is waves' measure.
func (t trial) measure(ctx context.Context, m member) (result.Sample, error) {
	type happened struct {
		more map[string]float64
		err  error
	}
	done := make(chan happened, 1)
	go func() {
		more, err := t.happens(ctx, m)
		done <- happened{more, err}
	}()
	outcomes := load.Open{Server: m.fleet.Address, Arrivals: t.arrivals(m), Timeout: trialTimeout, Start: m.begin}.Run(ctx)
	h := <-done
	s := losses(outcomes)
	for name, value := range h.more {
		s.Values[name] = value
	}
	return s, errors.Join(h.err, ctx.Err())
}

func (t trial) arrivals(m member) []load.Arrival {
	var service time.Duration
	if m.Can.Has(contender.Works) {
		service = m.env.Service(m.Family, trialService)
	}
	return load.Poisson(m.round.random(), trialRate, t.length, load.Fixed, service)
}

// losses are the values of an open loop in which some may fail.
func losses(outcomes []load.Outcome) result.Sample {
	h := load.Histogram(outcomes)
	s := result.Sample{Histogram: load.Encode(h), Values: map[string]float64{}}
	late := 0
	for _, o := range outcomes {
		if o.Err == nil {
			s.Answered++
			if o.Latency > slow {
				late++
			}
			continue
		}
		s.Failed++
		s.Values[reason(o.Err)]++
	}
	share := func(n float64) float64 { return 100 * n / float64(max(1, len(outcomes))) }
	for _, name := range []string{"reset", "refused", "timeouts"} {
		s.Values[name] = share(s.Values[name])
	}
	s.Values["lost"], s.Values["slow"] = share(float64(s.Failed)), share(float64(late))
	if s.Answered > 0 {
		s.Values["p99"], s.Values["max"] = milliseconds(h, 99), milliseconds(h, 100)
	}
	return s
}

// reason names a failure.
func reason(err error) string {
	for name, kind := range map[string]error{"reset": load.ErrReset, "refused": load.ErrRefused, "timeouts": load.ErrTimeout} {
		if errors.Is(err, kind) {
			return name
		}
	}
	return "otherwise"
}

var lossColumns = []result.Metric{
	{Name: "lost", Title: "lost", Unit: "%"},
	{Name: "slow", Title: "slower than 1 s", Unit: "%"},
	latency("p99"), latency("max"),
	{Name: "reset", Title: "reset", Unit: "%"},
	{Name: "refused", Title: "refused", Unit: "%"},
	{Name: "timeouts", Title: "no answer within 5 s", Unit: "%"},
}

// cases are tables of a trial, one a family.
func (t trial) cases(name, title string, size Size, can contender.Ability, more ...result.Metric) (cases []Case) {
	w := waves{atOnce: t.atOnce, start: kept, measure: t.measure}
	for _, f := range families(size) {
		names := able(f, can, size)
		if len(names) == 0 {
			continue
		}
		number := (len(names) + t.atOnce - 1) / t.atOnce
		cases = append(cases, Case{
			Name:       name + "/" + string(f),
			Title:      fmt.Sprintf("%s; %s", title, titles[f]),
			Contenders: names, Baseline: baselineOf(f, names),
			Metrics: append(slices.Clone(lossColumns), more...),
			Note: fmt.Sprintf("Up to %d contenders at the same time, each with %d connections/s, a request on each that takes %v (with nginx: none).",
				t.atOnce, trialRate, trialService),
			Length:   time.Duration(number) * (t.length + 500*time.Millisecond),
			Start:    time.Second,
			Together: w.together,
		})
	}
	return cases
}

var titles = map[contender.Family]string{
	contender.Node: "Node", contender.Go: "Go", contender.FastHTTP: "fasthttp", contender.Nginx: "nginx's own workers", contender.Python: "Python",
}

// families are those that trials are of.
func families(size Size) []contender.Family {
	if size == Quick {
		return []contender.Family{contender.Node}
	}
	return []contender.Family{contender.Node, contender.Go, contender.Nginx, contender.Python}
}

// able are the contenders of a family that can do something; a few of them when
// there is little time.
func able(f contender.Family, can contender.Ability, size Size) (names []string) {
	for _, c := range contender.All() {
		if c.Family == f && c.Can.Has(can) {
			names = append(names, c.Name)
		}
	}
	return fewer(names, size)
}

// few stand for the others when there is little time.
var few = []string{
	"node-reuseport", "node-cluster", "sockdist-node", "haproxy-tcp-node",
	"go-reuseport", "go-master-least", "sockdist-go",
}

// fewer are those of the names that there is time for.
func fewer(names []string, size Size) []string {
	if size == Full {
		return names
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !slices.Contains(few, name) })
}

// baselineOf is whom the others of a family are compared to: plain
// SO_REUSEPORT, or the family's own way.
func baselineOf(f contender.Family, names []string) string {
	for _, name := range []string{string(f) + "-reuseport", "gunicorn", "uvicorn"} {
		if slices.Contains(names, name) {
			return name
		}
	}
	return names[0]
}

// whole waits until so many workers are there, without some that are no more.
func whole(ctx context.Context, f *contender.Fleet, n int, without ...int) error {
	var pids []int
	var err error
	for deadline := time.Now().Add(settled); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(glance) {
		pids, err = f.Workers()
		pids = slices.DeleteFunc(pids, func(pid int) bool { return slices.Contains(without, pid) })
		if err == nil && len(pids) >= n {
			return nil
		}
	}
	return errors.Join(fmt.Errorf("%d of %d workers are there after %v", len(pids), n, settled), err, ctx.Err())
}

// anyOf is one of the workers, at random.
func anyOf(m member, salt int) (int, error) {
	pids, err := m.fleet.Workers()
	if err != nil {
		return 0, err
	}
	if len(pids) == 0 {
		return 0, errors.New("no worker is there")
	}
	slices.Sort(pids)
	r := m.round.random()
	for range salt {
		r.Uint64()
	}
	return pids[r.IntN(len(pids))], nil
}
