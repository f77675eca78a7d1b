package pick

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	wanted    = 4    // connections a slot, on average
	wandering = 1.03 // how far all populations together stray from their mean
)

// roomFor raises the limit of open files as far as it may, and tells how many
// connections a slot fit in, both ends of each in this process.
func roomFor(slots int) (perSlot int, err error) {
	spare := 256 + 2*len(kinds)*perTurn*perServe // what clients left, and what waits to be accepted
	sockets := len(kinds) * slots
	need := func(perSlot int) uint64 {
		return uint64(spare + sockets + int(wandering*float64(2*perSlot*sockets)))
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("read the limit of open files: %w", err)
	}
	if limit.Cur < need(wanted) {
		for _, most := range []uint64{max(limit.Max, need(wanted)), limit.Max} { // beyond the hard limit takes CAP_SYS_RESOURCE
			raised := unix.Rlimit{Cur: min(most, need(wanted)), Max: most}
			if unix.Setrlimit(unix.RLIMIT_NOFILE, &raised) == nil {
				limit = raised
				break
			}
		}
	}
	for perSlot = wanted; perSlot > 0; perSlot-- {
		if need(perSlot) <= limit.Cur {
			return perSlot, nil
		}
	}
	return 0, fmt.Errorf("%d slots need %d open files, but only %d are allowed: raise ulimit -n", slots, need(1), limit.Cur)
}
