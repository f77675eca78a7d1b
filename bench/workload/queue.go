package workload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
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
	// queueService, times the number of workers, is the mean service time of Go
	// workers. Others use so much more CPU for a connection that a machine with two
	// would be busy with them: they get fewer and longer ones.
	queueService     = 2500 * time.Microsecond
	queueSlowService = 3 * queueService
	// queueTimeout is more than any service time but a few of the heaviest tail.
	queueTimeout = 15 * time.Second
	// queueWarm is the share of a round that doesn't count.
	queueWarm = 0.1
)

var (
	queueLoads   = []float64{0.5, 0.7, 0.85, 0.95}
	queueWorkers = []int{4, 8, 16}

	queueCore = []string{"go-shared", "go-reuseport", "go-master-rr", "go-master-least", "sockdist-go", "sockdist-go-p2c", "sockdist-go-rr"}
	// queueOthers are compared in the cases of most interest, under these names;
	// the first is the baseline.
	queueOthers = []struct {
		name       string
		service    time.Duration
		contenders []string
	}{
		{"others", queueService, []string{"go-shared", "sockdist-go-random", "sockdist-go-hash", "sockdist-go-worker",
			"haproxy-tcp-go", "haproxy-queue-go", "haproxy-http-go", "nginx-stream-go", "nginx-http-go"}},
		{"node", queueSlowService, []string{"node-shared", "node-cluster", "node-cluster-shared", "pm2", "node-reuseport",
			"sockdist-node", "sockdist-node-p2c", "haproxy-http-node", "nginx-http-node"}},
		{"python", queueSlowService, []string{"gunicorn", "sockdist-gunicorn", "uvicorn", "sockdist-uvicorn"}},
	}
)

// A cell is a point of the table of all that is varied.
type cell struct {
	workers int
	service load.Distribution
	load    float64
	each    time.Duration // mean service time, for each worker that there is
}

func (c cell) name() string { return fmt.Sprintf("queue/%d/%s/%g", c.workers, c.service, c.load) }

func (c cell) title() string {
	return fmt.Sprintf("%d workers, %s service times, load %g", c.workers, c.service, c.load)
}

// mean is the service time.
func (c cell) mean() time.Duration { return time.Duration(c.workers) * c.each }

// QueueService is the mean service time in the cells that all contenders of Go
// are in.
func QueueService(workers int) time.Duration { return time.Duration(workers) * queueService }

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
				all = append(all, cell{workers, service, at, queueService})
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
				c.each = o.service
				cases = append(cases, c.testCase(size, c.name()+"/"+o.name, c.title()+": "+o.name, o.contenders))
			}
		}
	}
	return cases
}

// length is longest where it matters most, and where there are few connections.
func (c cell) length(size Size, core bool) time.Duration {
	switch {
	case size == Full && core && c.ofInterest(), c.each == queueSlowService:
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
			return c.measure(ctx, e, all, round, length)
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
func (c cell) measure(ctx context.Context, e Env, all []*contender.Contender, round Round, length time.Duration) (map[string]result.Sample, error) {
	lanes, samples := startLanes(ctx, e, all, contender.Setup{Workers: c.workers}, e.Fleet)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	runLanes(ctx, shuffled(lanes, round.Seed), c.arrivals(round.Seed, length), queueTimeout)
	warm := time.Duration(queueWarm * float64(length))
	for _, l := range lanes {
		samples[l.contender.Name] = answered(since(l.outcomes, warm))
	}
	return samples, nil
}
