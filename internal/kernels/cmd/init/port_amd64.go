package main

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// out writes to an I/O port. The thread needs leave to do so.
func out(port uint16, value byte)

// writePort writes one byte to an I/O port by itself, since Debian's cloud
// kernels have no /dev/port.
func writePort(port uint16, value byte) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Ioperm(int(port), 1, 1); err != nil {
		return fmt.Errorf("get leave for I/O port %#x: %w", port, err)
	}
	out(port, value)
	return nil
}
