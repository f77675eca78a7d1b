package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A record is what came of a load.
type record struct {
	mu        sync.Mutex
	latencies map[string]*hdrhistogram.Histogram // by kind, in microseconds from when a request was due
	workers   map[string]int                     // requests by who answered
	failed    int
	why       error // one of them
}

func newRecord(kinds []kind) *record {
	r := &record{latencies: make(map[string]*hdrhistogram.Histogram), workers: make(map[string]int)}
	for _, k := range kinds {
		r.latencies[k.name] = hdrhistogram.New(1, int64(2*answerWithin/time.Microsecond), 3)
	}
	return r
}

func (r *record) add(k *kind, worker string, took time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.failed, r.why = r.failed+1, err
		took = answerWithin // not to be taken for a quick one
	} else {
		r.workers[worker]++
	}
	_ = r.latencies[k.name].RecordValue(min(took.Microseconds(), int64(2*answerWithin/time.Microsecond)))
}

// all is the latencies of all kinds.
func (r *record) all() *hdrhistogram.Histogram {
	var sum *hdrhistogram.Histogram
	for _, h := range r.latencies {
		if sum == nil {
			sum = hdrhistogram.New(h.LowestTrackableValue(), h.HighestTrackableValue(), 3)
		}
		sum.Merge(h)
	}
	return sum
}

// warm is how long a load goes on before it is recorded. In that time most of the
// connections have gone that came before there was anything to report.
const warm = lifetime

// applyLoad does what a seed plans, and returns when all is answered. Requests
// count that are due in the length, after the warm-up.
func applyLoad(ctx context.Context, address string, kinds []kind, length time.Duration, seed uint64) *record {
	r := newRecord(kinds)
	var running sync.WaitGroup
	begin := time.Now()
	for _, p := range plans(kinds, warm+length, rand.New(rand.NewPCG(seed, 0))) {
		if !until(ctx, begin.Add(p.due[0])) {
			break
		}
		running.Go(func() { r.connection(ctx, address, p, begin) })
	}
	running.Wait()
	return r
}

// connection lives through a plan.
func (r *record) connection(ctx context.Context, address string, p plan, begin time.Time) {
	var c client = &plainClient{address: address}
	if p.kind.streams > 1 {
		c = newStreamClient(address)
	}
	defer c.close()
	var running sync.WaitGroup
	defer running.Wait()
	free := make(chan struct{}, max(1, p.kind.streams))
	for _, due := range p.due {
		at := begin.Add(due)
		if !until(ctx, at) {
			return
		}
		free <- struct{}{}
		running.Go(func() {
			worker, err := c.ask(p.kind.cost)
			if due >= warm || err != nil {
				r.add(p.kind, worker, time.Since(at), err)
			}
			<-free
		})
	}
}

// until waits for a moment; false: the context is done.
func until(ctx context.Context, moment time.Time) bool {
	wait := time.Until(moment)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(wait):
		return true
	}
}
