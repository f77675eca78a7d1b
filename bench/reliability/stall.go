package main

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/ledger"
)

const (
	stallWorkers = 8
	stallLength  = 2 * time.Second
	// hangAfter is what the contender with hang detection is started with.
	hangAfter = "500ms"
)

// stallContenders are those that this build of sockdist can be.
func (b *bench) stallContenders() []contender {
	off := []string{"--hang-after", "0"}
	if !b.can.hangAfter {
		off = nil
		b.leaveOut("sockdist with hang detection: this build has no --hang-after")
	}
	all := []contender{
		plain,
		underSockdist("round robin", append([]string{"--policy", "rr"}, off...)...),
		underSockdist("sockdist least, no hang detection", append([]string{"--policy", "least"}, off...)...),
	}
	if b.can.hangAfter {
		on := []string{"--hang-after", hangAfter}
		all = append(all, underSockdist("sockdist least, --hang-after "+hangAfter, on...))
		return append(all, b.onNode(on...)...)
	}
	return append(all, b.onNode()...)
}

// measureStall stops one of the workers for 2 s, and asks for how long those
// wait who come in that time.
func measureStall(b *bench) (*table, error) {
	contenders := b.stallContenders()
	t := &table{
		Title: fmt.Sprintf("One of %d workers stopped (SIGSTOP) for %v at %.0f connections/s, median of %d rounds (extremes).\nOf the connections that were opened in that time:", stallWorkers, stallLength, b.rate, b.repeat),
		heads: []string{"contender", "slower than 1 s", "p99 ms", "max ms", "lost"},
		cells: func(r *row) []string {
			return []string{
				fmt.Sprintf("%.2f %% (%.2f – %.2f)", 100*r.Slow, 100*r.Low, 100*r.High),
				fmt.Sprintf("%.1f", r.P99), fmt.Sprintf("%.0f", r.Max), fmt.Sprint(r.connections() - r.count(ledger.Answered)),
			}
		},
	}
	for _, c := range contenders {
		t.Rows = append(t.Rows, &row{Contender: c.name})
	}
	for round := range b.repeat {
		for i, c := range contenders {
			if err := b.goOn(); err != nil {
				return nil, err
			}
			b.progress.Show("stall, round %d of %d: %s", round+1, b.repeat, c.name)
			if err := b.stall(c, t.Rows[i]); err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	return t, nil
}

func (b *bench) stall(c contender, r *row) error {
	f, err := c.start(b, stallWorkers)
	if err != nil {
		return err
	}
	defer f.end()
	load, err := b.load(f, ledger.Held{})
	if err != nil {
		return err
	}
	defer load.finish()
	b.sleep(time.Second)
	pids, err := f.pids()
	if err != nil || len(pids) == 0 {
		return fmt.Errorf("no workers: %v", err)
	}
	slices.Sort(pids)
	pid := pids[b.random.IntN(len(pids))]
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		return err
	}
	begin := ledger.Now()
	b.sleep(stallLength)
	end := ledger.Now()
	_ = unix.Kill(pid, unix.SIGCONT) // a health check may have killed it
	b.sleep(time.Second)
	book := load.finish()
	report, err := settle(book, f, nil)
	if err != nil {
		return err
	}
	share, p99, most := during(book, begin, end)
	r.add(report, share, p99, most, 1)
	return nil
}

// during is about the connections that were due in a span of time: the share
// that got no answer within 1 s, and latencies in ms.
func during(book *ledger.Book, begin, end ledger.Moment) (share, p99, most float64) {
	var waits []float64
	slow := 0
	for _, e := range book.Entries {
		if e.Due < begin || e.Due >= end {
			continue
		}
		wait := e.Latency()
		waits = append(waits, float64(wait)/float64(time.Millisecond))
		if e.Column != ledger.Answered || wait > time.Second {
			slow++
		}
	}
	if len(waits) == 0 {
		return 0, 0, 0
	}
	slices.Sort(waits)
	return float64(slow) / float64(len(waits)), waits[len(waits)*99/100], waits[len(waits)-1]
}
