package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sockdist/sockdist/userspace/sockets"
)

// processName is the program's name, or "" if the process ended. Start is its
// start time, 0 if that isn't known.
func processName(pid int, start uint64) string {
	if pid <= 0 {
		return ""
	}
	if now, err := sockets.StartTime(pid); err != nil || start != 0 && now != start {
		return ""
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return ""
	}
	name := strings.TrimSuffix(string(comm), "\n")
	if strings.HasSuffix(name, "MainThread") {
		// Some runtimes name their threads, and so themselves, by what they do.
		if program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil {
			name = strings.TrimSuffix(filepath.Base(program), " (deleted)")
		}
	}
	return printable(name)
}

// printable replaces what could do something to a terminal: processes choose their names.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(name, "?"))
}
