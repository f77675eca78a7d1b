package membership

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

const (
	// starved is how much of the time a worker waits for a CPU that doesn't
	// hang, but gets no chance to get on.
	starved = 0.75
	// mostStarved is for how many times Config.HangAfter that excuses it.
	mostStarved = 4
)

// cpuWait is how long the threads of a process have waited for a CPU, all
// together. Kernels without schedstat say 0: nobody is excused.
func cpuWait(pid int) (sum time.Duration) {
	if pid == 0 {
		return 0
	}
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		// Time on a CPU, time waiting for one, number of turns.
		if fields := bytes.Fields(text); len(fields) > 1 {
			waited, _ := strconv.ParseInt(string(fields[1]), 10, 64)
			sum += time.Duration(waited)
		}
	}
	return sum
}
