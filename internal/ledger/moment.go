package ledger

import (
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
// kernel's.
var anchor = func() (a struct {
	time   time.Time
	moment Moment
}) {
	var now unix.Timespec
	a.time = time.Now()
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(err) // no Linux is without this clock
	}
	a.moment = Moment(now.Nano())
	return a
}()
