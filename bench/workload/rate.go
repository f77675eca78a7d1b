package workload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/sockdist/sockdist/bench/contender"
	"github.com/sockdist/sockdist/bench/load"
	"github.com/sockdist/sockdist/bench/result"
)

// rate is a connection for each request, with a tiny answer. It is first asked
// how many a second there can be, with 64 under way all the time. What a
// connection costs is then measured at a rate that is the same for all of a
// family, and open: servers that are busy take several events at a time, which
// is cheaper, so that costs at different rates can't be compared.
//
// The common rate is a quarter of the greatest that the baseline reaches when
// the case begins: what is three times as dear as the baseline still does it.
var rate = Workload{Name: "rate", Title: "a connection for each request", Cases: rateCases}

const (
	rateWorkers     = 4
	rateConcurrency = 64
	commonShare     = 0.25
)

// rateFamily is who is compared in a case.
type rateFamily struct {
	family   contender.Family
	baseline string
	quick    []string // with the baseline
	full     []string // these, too
}

var rateFamilies = []rateFamily{
	{contender.Node, "node-reuseport",
		[]string{"node-cluster", "pm2", "sockdist-node", "haproxy-tcp-node"},
		[]string{"node-cluster-shared", "node-shared", "sockdist-node-p2c", "sockdist-node-rr", "sockdist-node-random", "sockdist-node-hash",
			"haproxy-http-node", "nginx-stream-node", "nginx-http-node", "nginx-http-keepalive-node"}},
	{contender.Go, "go-reuseport",
		[]string{"go-master-rr", "sockdist-go", "haproxy-tcp-go"},
		[]string{"go-shared", "go-master-least", "sockdist-go-p2c", "sockdist-go-rr", "sockdist-go-random", "sockdist-go-hash", "sockdist-go-worker",
			"haproxy-http-go", "nginx-stream-go", "nginx-http-go"}},
	{contender.FastHTTP, "fasthttp-prefork", []string{"fasthttp-sockdist"}, []string{"fiber-prefork"}},
	{contender.Nginx, "nginx-reuseport", []string{"nginx-attached"}, nil},
	{contender.Python, "gunicorn", []string{"sockdist-gunicorn"}, []string{"uvicorn", "sockdist-uvicorn"}},
}

// rateLengths are of the parts of a measurement.
type rateLengths struct{ first, warm, greatest, common time.Duration }

func lengthsOfRate(size Size) rateLengths {
	if size == Quick {
		return rateLengths{200 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond, 400 * time.Millisecond}
	}
	return rateLengths{2 * time.Second, 200 * time.Millisecond, 800 * time.Millisecond, 1200 * time.Millisecond}
}

func rateCases(size Size) (cases []Case) {
	for _, f := range rateFamilies {
		names := append([]string{f.baseline}, f.quick...)
		if size == Full {
			names = append(names, f.full...)
		}
		r := &rating{baseline: f.baseline, lengths: lengthsOfRate(size), warm: map[*contender.Fleet]bool{}}
		cases = append(cases, Case{
			Name: "rate/" + string(f.family), Title: fmt.Sprintf("%s, %d workers, a connection for each request", f.family, rateWorkers),
			Contenders: names, Baseline: f.baseline,
			Metrics: rateMetrics(),
			Note: "Costs and latencies are at a common rate, a quarter of the baseline's greatest. " +
				"While workers are steered, sockdist's accounting looks at every connection of the machine, those of its rivals too: some ten ns each.",
			Length:  r.lengths.warm + r.lengths.greatest + r.lengths.common + 50*time.Millisecond,
			Start:   time.Second + r.lengths.first,
			Measure: r.measure,
		})
	}
	return cases
}

// busyCost is server CPU while all are as busy as they can be.
var busyCost = result.Metric{Name: "server µs max", Title: "server CPU at the greatest rate", Unit: "µs"}

func rateMetrics() []result.Metric {
	greatest := result.Metric{Name: "rate", Title: "greatest rate", Unit: "/s", Higher: true}
	return append([]result.Metric{serverCost, greatest, busyCost, totalCost, softirqCost}, append(latencies("p50", "p99"), memoryCost)...)
}

// rating is what a case remembers between its measurements, which come one
// after the other.
type rating struct {
	baseline string
	lengths  rateLengths

	common float64                   // rate; 0: not known yet
	warm   map[*contender.Fleet]bool // who had its first requests
}

func (r *rating) measure(ctx context.Context, e Env, c *contender.Contender, round Round) (sample result.Sample, err error) {
	common, err := r.commonRate(ctx, e, c)
	if err != nil {
		return sample, err
	}
	f, err := r.warmed(ctx, e, c)
	if err != nil {
		return sample, err
	}
	greatest, busy, err := r.greatest(ctx, f)
	if err != nil {
		return sample, err
	}
	if failed := excuse(greatest.Failed, greatest.Failed+greatest.Answered, greatest.Err); failed != "" {
		return result.Sample{Error: "at the greatest rate: " + failed, Failed: greatest.Failed, Answered: greatest.Answered}, nil
	}
	arrivals := load.Poisson(rand.New(rand.NewPCG(round.Seed, 0)), common, r.lengths.common, "", 0)
	if sample, err = atCommon(ctx, e, f, arrivals); err != nil {
		return sample, err
	}
	sample.Values["rate"], sample.Values[busyCost.Name] = greatest.Rate(), busy
	sample.Values[memoryCost.Name], err = megabytes(f)
	return sample, err
}

// greatest is the greatest rate, and the server's CPU for each connection, in µs.
func (r *rating) greatest(ctx context.Context, f *contender.Fleet) (t load.Tally, each float64, err error) {
	before, err := f.CPU()
	if err != nil {
		return t, 0, err
	}
	t = atMost(ctx, f, r.lengths.greatest)
	after, err := f.CPU()
	return t, float64((after - before).Nanoseconds()) / 1e3 / float64(max(1, t.Answered)), err
}

// commonRate is found with the baseline, whoever is measured first; with that
// one if the baseline isn't there.
func (r *rating) commonRate(ctx context.Context, e Env, c *contender.Contender) (float64, error) {
	if r.common > 0 {
		return r.common, nil
	}
	if b := contender.ByName(r.baseline); b != nil && b.Missing() == "" {
		c = b
	}
	e.Say("the greatest rate of %s", c.Name)
	f, err := r.warmed(ctx, e, c)
	if err != nil {
		return 0, err
	}
	t := atMost(ctx, f, r.lengths.greatest)
	if t.Answered == 0 {
		return 0, fmt.Errorf("%s answers nothing: %w", c.Name, t.Err)
	}
	r.common = commonShare * t.Rate()
	return r.common, nil
}

// warmed has had requests: more when it is new, as some compile what they run
// often.
func (r *rating) warmed(ctx context.Context, e Env, c *contender.Contender) (*contender.Fleet, error) {
	f, err := e.Fleet(ctx, c, contender.Setup{Workers: rateWorkers})
	if err != nil {
		return nil, err
	}
	length := r.lengths.first
	if r.warm[f] {
		length = r.lengths.warm
	}
	r.warm[f] = true
	atMost(ctx, f, length)
	return f, nil
}

// atMost has as many answered as it can.
func atMost(ctx context.Context, f *contender.Fleet, length time.Duration) load.Tally {
	return load.Closed{Server: f.Address, Concurrency: rateConcurrency, Length: length}.Run(ctx)
}

// atCommon is latency and cost under open load.
func atCommon(ctx context.Context, e Env, f *contender.Fleet, arrivals []load.Arrival) (sample result.Sample, err error) {
	before, err := spent(e, f)
	if err != nil {
		return sample, err
	}
	outcomes := load.Open{Server: f.Address, Arrivals: arrivals}.Run(ctx)
	after, err := spent(e, f)
	if err != nil {
		return sample, err
	}
	sample = answered(outcomes)
	after.minus(before).each(sample.Answered, sample.Values)
	return sample, nil
}
