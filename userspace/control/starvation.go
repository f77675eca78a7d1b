package control

import (
	"time"
)

const (
	// starved is how much of the time a worker waits for a CPU that doesn't
	// hang, but gets no chance to accept.
	starved = 0.75
	// mostStarved is for how many times Config.HangAfter that excuses it.
	mostStarved = 4
)

// waits remembers for how long workers have waited for a CPU, while
// connections wait for them.
type waits map[int][]waited

type waited struct {
	at    time.Duration // of CLOCK_MONOTONIC
	total time.Duration
}

// note is called at each look for a worker with a backlog.
func (w waits) note(now time.Duration, worker *worker) {
	home := worker.home()
	if home == nil {
		return
	}
	total, err := home.CPUWait()
	if err != nil {
		return // a kernel that doesn't tell: nobody is excused
	}
	w[worker.slot] = append(w[worker.slot], waited{now, total})
}

// forget is called for one without.
func (w waits) forget(slot int) { delete(w, slot) }

// share returns how much of the time since then a worker has waited for a CPU,
// from 0 to 1.
func (w waits) share(slot int, since time.Duration) float64 {
	readings := w[slot]
	for len(readings) > 1 && readings[1].at <= since {
		readings = readings[1:]
	}
	w[slot] = readings
	if len(readings) < 2 {
		return 0
	}
	first, last := readings[0], readings[len(readings)-1]
	return float64(last.total-first.total) / float64(last.at-first.at)
}
