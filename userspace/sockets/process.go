package sockets

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// StartTime returns when the process started, in clock ticks since boot. It
// wraps os.ErrProcessDone when there is no such process, or only what is left
// of it until its parent waits for it.
func StartTime(pid int) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		if vanished(err) {
			err = os.ErrProcessDone
		}
		return 0, fmt.Errorf("read the start time of process %d: %w", pid, err)
	}
	s, err := parseStat(text)
	if err != nil {
		return 0, fmt.Errorf("read the start time of process %d: %w", pid, err)
	}
	if s.dead {
		return 0, fmt.Errorf("read the start time of process %d: %w", pid, os.ErrProcessDone)
	}
	return s.start, nil
}

// Alive tells whether the process that had this PID and start time still runs.
func Alive(pid int, start uint64) bool {
	now, err := StartTime(pid)
	return err == nil && now == start
}

// stat is what this package needs of /proc/PID/stat.
type stat struct {
	comm  string
	start uint64
	dead  bool // a zombie, or on the way out
}

func parseStat(text []byte) (stat, error) {
	// The name is in parentheses, and may contain some itself.
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return stat{}, fmt.Errorf("no name in %q", text)
	}
	const (
		state     = 3 // the fields' numbers in proc_pid_stat(5)
		startTime = 22
	)
	fields := bytes.Fields(text[end+1:])
	if len(fields) <= startTime-state {
		return stat{}, fmt.Errorf("too few fields in %q", text)
	}
	start, err := strconv.ParseUint(string(fields[startTime-state]), 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("start time in %q: %w", text, err)
	}
	return stat{
		comm:  string(text[open+1 : end]),
		start: start,
		dead:  bytes.ContainsAny(fields[0], "ZXx"),
	}, nil
}
