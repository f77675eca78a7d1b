package health

import (
	"time"

	"golang.org/x/sys/unix"
)

// Now is the time for [Check.Look]: CLOCK_MONOTONIC, which doesn't run while
// the machine is suspended.
func Now() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return time.Duration(now.Nano())
}
