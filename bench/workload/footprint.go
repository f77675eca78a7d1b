package workload

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A footprint is what processes have used up to some moment. Those that end or
// begin in between two are in neither.
type footprint map[int]used

type used struct {
	cpu   time.Duration
	wakes uint64 // times that a thread slept and was woken
}

func footprintOf(pids []int) footprint {
	f := make(footprint, len(pids))
	for _, pid := range pids {
		var now unix.Timespec
		if unix.ClockGettime(cpuClock(pid), &now) == nil {
			f[pid] = used{cpu: time.Duration(now.Nano()), wakes: wakes(pid)}
		}
	}
	return f
}

// since is the sum over the processes that are in both.
func (f footprint) since(before footprint) (total used) {
	for pid, now := range f {
		if then, ok := before[pid]; ok {
			total.cpu += now.cpu - then.cpu
			total.wakes += now.wakes - min(now.wakes, then.wakes) // a thread may have ended
		}
	}
	return total
}

// cpuClock is the clock of a process's CPU time: in ns, and with the threads
// that ended. See clock_getcpuclockid(3).
func cpuClock(pid int) int32 {
	const scheduled = 2
	return int32(^pid<<3 | scheduled)
}

// wakes are the voluntary switches of its threads.
func wakes(pid int) (total uint64) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, task := range tasks {
		total += field(task, "voluntary_ctxt_switches")
	}
	return total
}

// field is a number of a file of lines like "name: number"; 0 if it isn't there.
func field(path, name string) (value uint64) {
	text, _ := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		if n, _ := fmt.Sscanf(line, name+": %d", &value); n == 1 {
			return value
		}
	}
	return 0
}

// proportional is the memory of processes in bytes, what they share counted once.
func proportional(pids []int) (bytes uint64) {
	for _, pid := range pids {
		bytes += field(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss") << 10
	}
	return bytes
}
