package worker

import (
	"math"
	"runtime/metrics"
	"time"
)

// smoothing is the time constant of the scheduler latency.
const smoothing = time.Second

// latency is the scheduler latency of this process. The mean rather than a
// percentile: it is what a new request has to expect, adds up over its many waits, moves
// steadily, and isn't bound to the histogram's coarse buckets.
type latency struct {
	unit   float64 // seconds; 0: nobody wants it
	sample []metrics.Sample
	counts []uint64
	mean   float64 // seconds, smoothed
	at     time.Time
}

func newLatency(unit time.Duration) *latency {
	m := &latency{unit: unit.Seconds()}
	if m.unit > 0 {
		m.sample = []metrics.Sample{{Name: "/sched/latencies:seconds"}}
		m.read()
		m.at = time.Now()
	}
	return m
}

// look brings the load up to date.
func (m *latency) look(now time.Time, load *Load) {
	if m.unit == 0 {
		return
	}
	weight := 1 - math.Exp(-now.Sub(m.at).Seconds()/smoothing.Seconds())
	m.at = now
	m.mean += max(weight, 0) * (m.read() - m.mean)
	load.adjust(ofLatency, int64(math.Round(m.mean/m.unit)))
}

// read returns the mean of the waits since it was called last.
func (m *latency) read() float64 {
	metrics.Read(m.sample)
	if m.sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		m.unit = 0 // a Go without it
		return 0
	}
	h := m.sample[0].Value.Float64Histogram()
	if m.counts == nil {
		m.counts = make([]uint64, len(h.Counts))
	}
	var waits uint64
	var sum float64
	for i, count := range h.Counts {
		n := count - m.counts[i]
		m.counts[i] = count
		waits += n
		sum += float64(n) * middle(h.Buckets[i], h.Buckets[i+1])
	}
	if waits == 0 {
		return 0
	}
	return sum / float64(waits)
}

// middle of a bucket; the outermost ones have no end.
func middle(low, high float64) float64 {
	switch {
	case math.IsInf(high, 1):
		return low
	case math.IsInf(low, -1):
		return 0
	}
	return (low + high) / 2
}
