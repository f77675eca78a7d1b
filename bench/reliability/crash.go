package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/ledger"
)

const crashWorkers = 4

// times is how often something is broken.
func (b *bench) times() int {
	if b.quick {
		return 4
	}
	return 20
}

// measureCrash kills workers at random moments, one about every two seconds.
func measureCrash(b *bench) (*table, error) {
	return b.crashes(0, fmt.Sprintf("SIGKILL of one of %d workers", crashWorkers))
}

// stuckFor is less than what a hang detection takes to act.
const stuckFor = 300 * time.Millisecond

// measureStuck kills workers in whose queues connections wait.
func measureStuck(b *bench) (*table, error) {
	return b.crashes(stuckFor, fmt.Sprintf("SIGKILL of one of %d workers that has been stopped for %v before", crashWorkers, stuckFor))
}

func (b *bench) crashes(stuck time.Duration, what string) (*table, error) {
	t := &table{
		Title: fmt.Sprintf("%s, %d times, at %.0f connections/s, IPv4 and IPv6.\nA connection that the killed worker had accepted is lost with any of them; the rest needn't be.", what, b.times(), b.rate),
		heads: lossHeads, cells: lossCells,
	}
	contenders := []contender{plain, underSockdist("round robin", "--policy", "rr"), underSockdist("sockdist least")}
	contenders = append(contenders, b.onNode()...)
	for _, c := range contenders {
		r := &row{Contender: c.name}
		t.Rows = append(t.Rows, r)
		if err := b.crash(c, r, stuck); err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return t, nil
}

func (b *bench) crash(c contender, r *row, stuck time.Duration) error {
	f, err := c.start(b, crashWorkers)
	if err != nil {
		return err
	}
	defer f.end()
	load, err := b.load(f, ledger.Held{})
	if err != nil {
		return err
	}
	defer load.finish()
	var kills []ledger.Kill
	for i := range b.times() {
		if err := b.goOn(); err != nil {
			return err
		}
		b.progress.Show("crash %d of %d: %s", i+1, b.times(), c.name)
		begin := time.Now()
		b.sleep(500*time.Millisecond + time.Duration(b.random.Int64N(int64(time.Second))))
		k, err := b.crashOne(f, stuck)
		if err != nil {
			return err
		}
		kills = append(kills, k)
		if err := awaitWorkers(f, crashWorkers, k.PID); err != nil {
			if b.ctx.Err() != nil {
				return err
			}
			r.Failed = err.Error() // a contender that doesn't survive is a result
			break
		}
		b.sleep(time.Until(begin.Add(2 * time.Second)))
	}
	return r.conclude(load, f, kills, len(kills))
}

func (b *bench) crashOne(f fleet, stuck time.Duration) (k ledger.Kill, err error) {
	pids, err := f.pids()
	if err != nil {
		return k, err
	}
	if len(pids) == 0 {
		return k, errors.New("no worker is alive")
	}
	slices.Sort(pids)
	pid := pids[b.random.IntN(len(pids))]
	if stuck > 0 {
		if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
			return k, err
		}
		b.sleep(stuck)
	}
	return ledger.KillWorker(pid)
}

// conclude ends the load and takes its books for a round.
func (r *row) conclude(load *clients, f fleet, kills []ledger.Kill, faults int) error {
	report, err := settle(load.finish(), f, kills)
	if err != nil {
		return err
	}
	answered := report.Columns[ledger.Answered]
	r.add(report, report.SlowShare, answered.P99, answered.Max, faults)
	return nil
}
