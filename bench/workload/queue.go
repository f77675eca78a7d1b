package workload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/sockdist/sockdist/bench/contender"
	"github.com/sockdist/sockdist/bench/load"
	"github.com/sockdist/sockdist/bench/result"
)

// queue is workers that serve one connection at a time, and connections that
// come at random: how good is the choice of a worker? The baseline is one
// listener that all workers share. There, a connection waits only while all are
// busy, which no choice beforehand can beat.
//
// Workers sleep for as long as they are asked to, so that sixteen of them need
// no sixteen CPUs. The mean service time is longer the more workers there are:
// each contender then gets as many connections a second at the same load.
//
// All contenders of a case run at the same time and get the same arrivals, each
// from a client of its own, a little after one another.
var queue = Workload{Name: "queue", Title: "workers that serve one at a time", Cases: queueCases}

const (
	// queueService, times the number of workers, is the mean service time.
	queueService = 2500 * time.Microsecond
	// queueWarm is the share of a round that doesn't count.
	queueWarm = 0.1
	// queueApart is how long one client begins after the other, so that one
	// CPU doesn't have to do the same for all at the same moment.
	queueApart = 700 * time.Microsecond
)

var (
	queueLoads   = []float64{0.5, 0.7, 0.85, 0.95}
	queueWorkers = []int{4, 8, 16}

	queueCore = []string{"go-shared", "go-reuseport", "go-master-rr", "go-master-least", "sockdist-go", "sockdist-go-p2c", "sockdist-go-rr"}
	// queueOthers are compared in the cases of most interest, under these names.
	queueOthers = []struct {
		name     string
		baseline string
		others   []string
	}{
		{"others", "go-shared", []string{"sockdist-go-random", "sockdist-go-hash", "sockdist-go-worker",
			"haproxy-tcp-go", "haproxy-queue-go", "haproxy-http-go", "nginx-stream-go", "nginx-http-go"}},
		{"node", "node-shared", []string{"node-cluster", "node-cluster-shared", "pm2", "node-reuseport", "sockdist-node", "sockdist-node-p2c",
			"haproxy-http-node", "nginx-http-node"}},
		{"python", "gunicorn", []string{"sockdist-gunicorn", "uvicorn", "sockdist-uvicorn"}},
	}
)

// A cell is a point of the table of all that is varied.
type cell struct {
	workers int
	service load.Distribution
	load    float64
}

func (c cell) name() string { return fmt.Sprintf("queue/%d/%s/%g", c.workers, c.service, c.load) }

func (c cell) title() string {
	return fmt.Sprintf("%d workers, %s service times, load %g", c.workers, c.service, c.load)
}

// mean is the service time.
func (c cell) mean() time.Duration { return time.Duration(c.workers) * queueService }

// arrivals are the same for the same seed.
func (c cell) arrivals(seed uint64, length time.Duration) []load.Arrival {
	perSecond := c.load * float64(c.workers) / c.mean().Seconds()
	return load.Poisson(rand.New(rand.NewPCG(seed, 0)), perSecond, length, c.service, c.mean())
}

// ofInterest are the cells that the quick size has, and all contenders.
func (c cell) ofInterest() bool {
	return c.workers == 8 && (c.service == load.Exponential || c.service == load.Bimodal) && (c.load == 0.7 || c.load == 0.85)
}

func cells() (all []cell) {
	for _, workers := range queueWorkers {
		for _, service := range load.Distributions {
			for _, at := range queueLoads {
				all = append(all, cell{workers, service, at})
			}
		}
	}
	return all
}

func queueCases(size Size) (cases []Case) {
	for _, c := range cells() {
		if size == Full || c.ofInterest() {
			cases = append(cases, c.testCase(size, c.name(), c.title(), queueCore))
		}
		if size == Full && c.ofInterest() {
			for _, o := range queueOthers {
				names := append([]string{o.baseline}, o.others...)
				cases = append(cases, c.testCase(size, c.name()+"/"+o.name, c.title()+": "+o.name, names))
			}
		}
	}
	return cases
}

// length is longest where it matters most: in the cells of interest, without others.
func (c cell) length(size Size, core bool) time.Duration {
	switch {
	case size == Full && core && c.ofInterest():
		return 5 * time.Second
	}
	return 2500 * time.Millisecond
}

// testCase compares them in a cell; the first is the baseline.
func (c cell) testCase(size Size, name, title string, contenders []string) Case {
	length := c.length(size, name == c.name())
	return Case{
		Name: name, Title: title, Contenders: contenders, Baseline: contenders[0],
		Metrics: latencies("p99", "p50", "p90", "p99.9", "max"),
		Note:    c.note(contenders[0]),
		Length:  length + c.drains(),
		Start:   queueStarts(contenders[0]),
		Together: func(ctx context.Context, e Env, all []*contender.Contender, round Round) (map[string]result.Sample, error) {
			return c.measure(ctx, e, all, c.arrivals(round.Seed, length), length)
		},
	}
}

// drains is how long the last ones take, about.
func (c cell) drains() time.Duration {
	if c.service == load.HeavyTailed {
		return time.Second
	}
	return 300 * time.Millisecond
}

// queueStarts is how long one of those takes to start: Go and its proxies hardly
// any time.
func queueStarts(baseline string) time.Duration {
	if baseline == queueCore[0] {
		return 300 * time.Millisecond
	}
	return time.Second
}

// note says what the figures of a case don't.
func (c cell) note(baseline string) string {
	var notes []string
	switch baseline {
	case "gunicorn":
		notes = append(notes, "gunicorn's workers share a listener; uvicorn's accept what they can't serve yet.")
	case "node-shared":
		notes = append(notes, "The baseline's workers share a listener, but Node accepts what it can't serve yet: it isn't the limit that a shared queue is elsewhere.")
	}
	if c.load >= 0.95 {
		notes = append(notes, "A round begins with empty queues, and is over before they are as long as they get at such a load.")
	}
	return strings.Join(notes, " ")
}

// measure has all of them run at once.
func (c cell) measure(ctx context.Context, e Env, all []*contender.Contender, arrivals []load.Arrival, length time.Duration) (map[string]result.Sample, error) {
	lanes, samples := startLanes(ctx, e, all, contender.Setup{Workers: c.workers}, e.Fleet)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	runLanes(ctx, lanes, arrivals, 0)
	warm := time.Duration(queueWarm * float64(length))
	for _, l := range lanes {
		samples[l.contender.Name] = answered(since(l.outcomes, warm))
	}
	return samples, nil
}

// since leaves out what was due before.
func since(outcomes []load.Outcome, from time.Duration) []load.Outcome {
	for i := range outcomes {
		if outcomes[i].At >= from {
			return outcomes[i:]
		}
	}
	return nil
}

// A lane is a contender with a client of its own, beside others.
type lane struct {
	contender *contender.Contender
	fleet     *contender.Fleet
	ask       func(time.Duration) time.Duration
	outcomes  []load.Outcome
}

// startLanes starts all of them, one at a time where they can. Those that don't
// start have a sample that says why.
func startLanes(ctx context.Context, e Env, all []*contender.Contender, s contender.Setup,
	start func(context.Context, *contender.Contender, contender.Setup) (*contender.Fleet, error)) (lanes []*lane, samples map[string]result.Sample) {
	samples = map[string]result.Sample{}
	for _, c := range all {
		s.Serial = c.Can.Has(contender.Serial)
		f, err := start(ctx, c, s)
		if err != nil {
			samples[c.Name] = result.Sample{Error: err.Error()}
			continue
		}
		ask := func(d time.Duration) time.Duration { return max(1, e.Service(c.Family, d)) }
		lanes = append(lanes, &lane{contender: c, fleet: f, ask: ask})
	}
	return lanes, samples
}

// runLanes sends all of them the same.
func runLanes(ctx context.Context, lanes []*lane, arrivals []load.Arrival, timeout time.Duration) {
	start := time.Now().Add(50 * time.Millisecond)
	var running sync.WaitGroup
	for i, l := range lanes {
		open := load.Open{Server: l.fleet.Address, Arrivals: l.asked(arrivals), Timeout: timeout, Start: start.Add(time.Duration(i) * queueApart)}
		running.Go(func() { l.outcomes = open.Run(ctx) })
	}
	running.Wait()
}

// asked are the arrivals with what has to be asked for.
func (l *lane) asked(arrivals []load.Arrival) []load.Arrival {
	asked := make([]load.Arrival, len(arrivals))
	for i, a := range arrivals {
		asked[i] = load.Arrival{At: a.At, Service: l.ask(a.Service)}
	}
	return asked
}
