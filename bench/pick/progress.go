package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A progress is a line that is written over, on a terminal only.
type progress struct {
	to *os.File
}

func newProgress(to *os.File) *progress {
	if _, err := unix.IoctlGetTermios(int(to.Fd()), unix.TCGETS); err != nil {
		to = nil
	}
	return &progress{to}
}

// show tells what is measured, and which share of all is done.
func (p *progress) show(slots int, share float64) {
	if p.to != nil {
		fmt.Fprintf(p.to, "\r\033[Kmeasuring %d slots, %.0f %% done", slots, 100*share)
	}
}

func (p *progress) clear() {
	if p.to != nil {
		fmt.Fprint(p.to, "\r\033[K")
	}
}
