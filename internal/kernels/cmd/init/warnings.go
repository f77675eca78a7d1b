package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Bits of /proc/sys/kernel/tainted.
const (
	taintDied    = 1 << 7
	taintWarning = 1 << 9
)

// startLog forgets what the kernel has said while it booted.
func startLog() error {
	if _, err := unix.Klogctl(unix.SYSLOG_ACTION_CLEAR, nil); err != nil {
		return fmt.Errorf("clear the kernel's log: %w", err)
	}
	return nil
}

// tellWarnings prints the kernel's log since startLog if the kernel has warned
// about itself: with a quiet console that would go unseen.
func tellWarnings() {
	text, err := os.ReadFile("/proc/sys/kernel/tainted")
	if err != nil {
		fmt.Println("init: look for kernel warnings:", err)
		return
	}
	taint, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || taint&(taintDied|taintWarning) == 0 {
		return
	}
	log := make([]byte, 64<<10)
	n, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, log)
	if err != nil {
		fmt.Println("init: read the kernel's log:", err)
		return
	}
	fmt.Printf("init: the kernel warned about itself; its log:\n%s\n", log[:n])
}
