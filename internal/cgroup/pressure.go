package cgroup

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// CPUWait returns for how long, since it was made, a process of the cgroup has
// waited for a CPU: it wanted to run, and others ran. It needs no controller, but
// a kernel with pressure stall information, else it wraps [fs.ErrNotExist].
func (d directory) CPUWait() (time.Duration, error) {
	text, err := d.read("cpu.pressure")
	if err != nil {
		return 0, err
	}
	total, err := parsePressure(text)
	if err != nil {
		return 0, fmt.Errorf("read cpu.pressure of cgroup %s: %w", d.path, err)
	}
	return total, nil
}

// parsePressure returns the total of the line "some", which is in microseconds.
func parsePressure(text string) (time.Duration, error) {
	line, err := valueOf(text, "some")
	if err != nil {
		return 0, err
	}
	_, total, _ := strings.Cut(line, "total=")
	microseconds, err := strconv.ParseUint(total, 10, 53)
	return time.Duration(microseconds) * time.Microsecond, err
}
