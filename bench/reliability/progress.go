package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A progress is a line that is written over, on a terminal only.
type progress struct {
	to    *os.File
	begin time.Time
}

func newProgress(to *os.File) *progress {
	if _, err := unix.IoctlGetTermios(int(to.Fd()), unix.TCGETS); err != nil {
		to = nil
	}
	return &progress{to, time.Now()}
}

// show tells what goes on.
func (p *progress) show(format string, args ...any) {
	if p.to != nil {
		fmt.Fprintf(p.to, "\r\033[K%4.0f s  %s", time.Since(p.begin).Seconds(), fmt.Sprintf(format, args...))
	}
}

func (p *progress) clear() {
	if p.to != nil {
		fmt.Fprint(p.to, "\r\033[K")
	}
}
