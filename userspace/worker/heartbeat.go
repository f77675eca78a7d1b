package worker

import (
	"runtime"
	"sync/atomic"
	"time"
)

const (
	// pulse is how often a worker that gets on shows it.
	pulse = 100 * time.Millisecond
	// acceptWithin is how long connections may wait while none is accepted.
	acceptWithin = time.Second
)

// heart is what the heartbeat remembers from one pulse to the next.
type heart struct {
	accepted, finished uint64
	progress           time.Time // last time that one of them rose, or nothing was to be done
	taken              time.Time // last time that something was accepted, or nothing waited
}

// beat goes on until the listener is closed.
func (l *Listener) beat() {
	ticker := time.NewTicker(pulse)
	defer ticker.Stop()
	now := time.Now()
	h := heart{progress: now, taken: now}
	latency := newLatency(l.o.latencyUnit)
	balance := newBalancer(l)
	for {
		select {
		case <-l.closed:
			return
		case now = <-ticker.C:
		}
		runtime.Gosched() // to the end of the queue, like everybody: it is the probe of the scheduler
		l.publish(&h, now)
		latency.look(now, &l.load)
		balance.look(now)
	}
}

// publish writes what changes by the pulse.
func (l *Listener) publish(h *heart, now time.Time) {
	to := l.place.Load().line()
	getsOn := l.getsOn(h, now)
	atomic.StoreUint64(&to.requests, h.finished)
	switch {
	case l.draining.Load():
		atomic.StoreUint64(&to.beat, 0)
	case getsOn:
		atomic.StoreUint64(&to.beat, l.beats.Add(1))
	}
}

// getsOn tells whether this worker does what a worker should.
func (l *Listener) getsOn(h *heart, now time.Time) bool {
	accepted, finished := l.accepted.Load(), l.finished.Load()
	tookOne := accepted != h.accepted
	if tookOne || finished != h.finished || l.inFlight.Load() == 0 {
		h.progress = now
	}
	if tookOne || l.waiting() == 0 {
		h.taken = now
	}
	h.accepted, h.finished = accepted, finished
	return now.Sub(h.taken) <= acceptWithin && (l.o.stall == 0 || now.Sub(h.progress) <= l.o.stall)
}
