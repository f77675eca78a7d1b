package demo

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	patience = 20 * time.Second // a connection that takes longer has failed
	inFlight = 4096             // at most, on each side
)

// A ledger has what became of every connection of one side.
type ledger struct {
	mu       sync.Mutex
	latency  *hdrhistogram.Histogram // in microseconds
	sent     int
	answered int
	failed   int
	served   [MaxWorkers]int // by worker
}

func newLedger() *ledger {
	return &ledger{latency: hdrhistogram.New(1, patience.Microseconds(), 3)}
}

func (l *ledger) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
}

func (l *ledger) end(worker int, took time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed++
		return
	}
	l.answered++
	l.served[worker]++
	_ = l.latency.RecordValue(min(max(took.Microseconds(), 1), patience.Microseconds()))
}

func (l *ledger) percentile(p float64) time.Duration {
	return time.Duration(l.latency.ValueAtQuantile(p)) * time.Microsecond
}

// drive opens connections from begin to end, at random moments that the seed
// determines and nothing else, so that both sides get the same; fewer only if
// ctx ends early. It waits for the answers of those it began.
func (l *ledger) drive(ctx context.Context, begin, end time.Time, address string, rate float64, seed uint64) {
	var open sync.WaitGroup
	defer open.Wait()
	places := make(chan struct{}, inFlight)
	random := rand.New(rand.NewPCG(seed, seed))
	for due := begin; ; {
		due = due.Add(time.Duration(random.ExpFloat64() / rate * float64(time.Second)))
		if due.After(end) || !sleepUntil(ctx, due) {
			return
		}
		places <- struct{}{}
		l.begin()
		open.Add(1)
		go func(due time.Time) {
			defer open.Done()
			defer func() { <-places }()
			l.exchange(ctx, address, due)
		}(due)
	}
}

// exchange opens the connection that was due then. The end of the load does not end it.
func (l *ledger) exchange(ctx context.Context, address string, due time.Time) {
	patient, cancel := context.WithDeadline(context.WithoutCancel(ctx), due.Add(patience))
	defer cancel()
	worker, err := ask(patient, address)
	l.end(worker, time.Since(due), err)
}

func sleepUntil(ctx context.Context, due time.Time) bool {
	wait := time.Until(due)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
