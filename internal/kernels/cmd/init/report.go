package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/kernels/guest"
)

// report ends the machine with the exit code. It does not come back: if the
// device isn't there, the end of process 1 makes the kernel panic, which the
// host takes for a failure.
func report(code int) {
	// QEMU ends at once: what the serial port hasn't sent yet would be lost.
	if err := unix.IoctlSetInt(int(os.Stdout.Fd()), unix.TCSBRK, 1); err != nil {
		fmt.Println("init: wait for the console:", err)
	}
	err := writePort(guest.ExitPort, guest.Report(code))
	fmt.Println("init: report exit code", code, "to the host:", err)
}
