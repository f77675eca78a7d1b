// Package workload is what contenders are measured with. Each workload is a
// few cases, and a case is one table: some contenders that do the same, in
// rounds, beside a baseline.
package workload

import (
	"context"
	"time"

	"github.com/sockdist/sockdist/bench/contender"
	"github.com/sockdist/sockdist/bench/result"
)

// A Workload is known by a name.
type Workload struct {
	Name  string
	Title string
	// Cases are its tables, at some size.
	Cases func(Size) []Case
}

// Size is how much time there is.
type Size int

// Sizes: Quick is for five minutes in all, on two CPUs.
const (
	Quick Size = iota
	Full
)

// A Case is one table.
type Case struct {
	Name       string   // unique, below the workload's: "queue/8/exponential/0.85"
	Title      string   // for people
	Contenders []string // names; those that aren't there are left out
	Rows       []string // what is measured where that isn't contenders; then all at once, by Together
	Baseline   string   // one of them
	Metrics    []result.Metric
	Note       string

	// Length is about how long one round takes, for the estimate: of one
	// contender, or of all if they are measured together.
	Length time.Duration
	// Start is about how long it takes to start one contender.
	Start time.Duration

	// One of the two. Measure measures one contender alone; the runner
	// interleaves the contenders, in an order that changes from round to round.
	// All with the same round get the same arrivals: they are made of its seed.
	Measure func(ctx context.Context, e Env, c *contender.Contender, round Round) (result.Sample, error)
	// Together measures all at once, with the same arrivals. It returns a sample for each.
	Together func(ctx context.Context, e Env, all []*contender.Contender, round Round) (map[string]result.Sample, error)
}

// A Round is one of the repetitions of a case.
type Round struct {
	Number int
	Seed   uint64
	Size   Size
}

// An Env is what a case runs in. The runner gives each case a new one, and
// ends what it started.
type Env interface {
	// Fleet is the contender, running, with that many workers. It is kept for
	// later rounds of the same case, and stopped at the end of the case.
	Fleet(ctx context.Context, c *contender.Contender, s contender.Setup) (*contender.Fleet, error)
	// Fresh is one that was just started. The caller stops it.
	Fresh(ctx context.Context, c *contender.Contender, s contender.Setup) (*contender.Fleet, error)
	// ClientCPU is what the load generator, this process, has used so far.
	ClientCPU() (time.Duration, error)
	// Softirq is what the whole machine has spent in softirqs so far.
	Softirq() (time.Duration, error)
	// Service is what to ask a worker of a family for, so that it is kept for
	// d in all: the calibration takes off what timers oversleep, and what a
	// request costs beside.
	Service(f contender.Family, d time.Duration) time.Duration
	// Sockdist runs the command line, and returns its output.
	Sockdist(ctx context.Context, args ...string) (string, error)
	// Say tells what goes on, on the line of progress.
	Say(format string, args ...any)
}

// All are the workloads, in the order of a report.
func All() []Workload {
	return []Workload{rate, queue, keepalive, longlived, burst, uneven, stall, crash, reload, pick, idle}
}
