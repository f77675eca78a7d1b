package ledger

import (
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// Moment is a time of CLOCK_MONOTONIC in nanoseconds. It can be compared with
// those of other processes of the same machine.
type Moment int64

// Now is the present Moment.
func Now() Moment { return anchor.moment + Moment(time.Since(anchor.time)) }

// Sub is the time from other to m.
func (m Moment) Sub(other Moment) time.Duration { return time.Duration(m - other) }

// Add is the Moment d after m.
func (m Moment) Add(d time.Duration) Moment { return m + Moment(d) }

// anchor ties the clock of package time, which costs no system call, to the
// kernel's. Both are read one after the other, and a busy machine has time for
// others in between: the best of some tries counts.
var anchor = func() (best pair) {
	shortest := time.Duration(math.MaxInt64)
	for range 20 {
		p := readClocks()
		if took := time.Since(p.time); took < shortest {
			best, shortest = p, took
		}
	}
	return best
}()

// A pair is the same moment on both clocks.
type pair struct {
	time   time.Time
	moment Moment
}

func readClocks() pair {
	var now unix.Timespec
	begin := time.Now()
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(err) // no Linux is without this clock
	}
	return pair{begin, Moment(now.Nano())}
}
