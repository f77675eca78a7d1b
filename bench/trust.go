package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/sockdist/sockdist/bench/contender"
	"github.com/sockdist/sockdist/bench/result"
	"github.com/sockdist/sockdist/bench/theory"
	"github.com/sockdist/sockdist/bench/workload"
)

// service is by how much a worker of a family is kept for longer than asked.
type service map[contender.Family]time.Duration

// The harness checks itself against these, at a load of 0.7.
const checkedLoad = 0.7

var checkedQueues = []struct {
	workers int
	mean    time.Duration
}{
	{1, 4 * time.Millisecond},
	{4, 10 * time.Millisecond},
}

// calibrated are contenders with one worker that stand for their families.
var calibrated = []struct {
	contender string
	serial    bool
}{
	{"go-shared", true},
	{"node-shared", false},
	{"gunicorn", true},
}

// checkLength is for how long each queue is watched.
func checkLength(size workload.Size) time.Duration {
	if size == workload.Quick {
		return 8 * time.Second
	}
	return 30 * time.Second
}

// trustTakes is about how long prove takes.
func trustTakes(size workload.Size) time.Duration {
	return time.Duration(len(checkedQueues))*checkLength(size) + time.Duration(len(calibrated))*3*time.Second
}

// prove finds out by how much service times must be corrected, and whether the
// machine then does what theory says.
func (l *lab) prove(ctx context.Context, size workload.Size, say func(format string, args ...any)) (trust result.Trust, err error) {
	trust = result.Trust{Tolerance: theory.Tolerance, Overshoot: make(map[string]string)}
	l.service = make(service)
	for _, c := range calibrated {
		say("calibrating service times of %s", c.contender)
		if err := l.calibrate(ctx, c.contender, c.serial, trust.Overshoot); err != nil {
			return trust, err
		}
	}
	for _, q := range checkedQueues {
		say("checking against theory: M/M/%d", q.workers)
		checks, err := l.check(ctx, q.workers, q.mean, checkLength(size))
		if err != nil {
			return trust, err
		}
		trust.Checks = append(trust.Checks, checks...)
	}
	trust.Noisy = theory.Noisy(trust.Checks)
	return trust, nil
}

// Service implements workload.Env, for those that embed the lab.
func (l *lab) Service(f contender.Family, d time.Duration) time.Duration {
	return max(0, d-l.service[f])
}

// alone runs f with a contender that is stopped afterwards; one that isn't
// installed is left out.
func (l *lab) alone(ctx context.Context, name string, s contender.Setup, f func(*contender.Fleet) error) error {
	c := contender.ByName(name)
	if c == nil || c.Missing() != "" {
		return nil
	}
	fleet, err := l.start(ctx, c, s)
	if err != nil {
		return err
	}
	err = f(fleet)
	if stopped := fleet.Stop(); err == nil {
		err = stopped
	}
	return err
}

func (l *lab) calibrate(ctx context.Context, name string, serial bool, overshoot map[string]string) error {
	return l.alone(ctx, name, contender.Setup{Workers: 1, Serial: serial}, func(f *contender.Fleet) error {
		over, err := theory.Calibrate(ctx, f.Address, []time.Duration{2 * time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond})
		family := contender.ByName(name).Family
		l.service[family] = over
		overshoot[string(family)] = over.String()
		return err
	})
}

func (l *lab) check(ctx context.Context, workers int, mean, length time.Duration) (checks []result.Check, err error) {
	err = l.alone(ctx, "go-shared", contender.Setup{Workers: workers, Serial: true}, func(f *contender.Fleet) error {
		ask := func(d time.Duration) time.Duration { return l.Service(contender.Go, d) }
		checks, err = theory.Check(ctx, theory.Station{Server: f.Address, Workers: workers, Ask: ask}, checkedLoad, mean, length, 1)
		return err
	})
	return checks, err
}

// sayTrust prints how it went.
func sayTrust(out io.Writer, t result.Trust) {
	worst := 0.0
	for _, c := range t.Checks {
		worst = max(worst, math.Abs(c.Measured/c.Expected-1))
	}
	if t.Noisy {
		fmt.Fprintf(out, "THIS MACHINE IS TOO NOISY: a queue that theory knows is off by %.0f %%, where %.0f %% is the limit. Take what follows with care.\n", 100*worst, 100*t.Tolerance)
	} else {
		fmt.Fprintf(out, "The harness agrees with queueing theory within %.1f %%.\n", 100*worst)
	}
	for _, c := range t.Checks {
		fmt.Fprintf(out, "  %-24s expected %7.2f %s, measured %7.2f\n", c.Name, c.Expected, c.Unit, c.Measured)
	}
	fmt.Fprintln(out)
}
