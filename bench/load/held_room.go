package load

import (
	"fmt"
	"syscall"
)

// Room raises the limit of open files to n and some, as far as it may, for this
// process and for those that it starts from now on. It returns how many of the
// n there is room for: beyond the hard limit takes CAP_SYS_RESOURCE.
func Room(n int) (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("read the limit of open files: %w", err)
	}
	wanted := uint64(n + spareFiles)
	for _, most := range []uint64{max(limit.Max, wanted), limit.Max} {
		raised := syscall.Rlimit{Cur: min(most, wanted), Max: most}
		if limit.Cur < wanted && syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised) == nil {
			limit = raised
		}
	}
	if limit.Cur <= spareFiles {
		return 0, fmt.Errorf("only %d open files are allowed: raise ulimit -n", limit.Cur)
	}
	return min(n, int(limit.Cur-spareFiles)), nil
}

// spareFiles are for all else that a process has open.
const spareFiles = 512
