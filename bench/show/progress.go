// Package show is what the commands under bench have in common: how they tell
// what goes on, where they measured, and what came out.
package show

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A Progress is a line that is written over. It is for one goroutine at a time.
// The zero value, and one that isn't on a terminal, says nothing.
type Progress struct {
	to    *os.File
	begin time.Time
}

// NewProgress writes to a file if that is a terminal. Its clock starts now.
func NewProgress(to *os.File) *Progress {
	if _, err := unix.IoctlGetTermios(int(to.Fd()), unix.TCGETS); err != nil {
		to = nil
	}
	return &Progress{to, time.Now()}
}

// Show tells what goes on, behind the seconds since the start.
func (p *Progress) Show(format string, args ...any) {
	if p.to != nil {
		fmt.Fprintf(p.to, "\r\033[K%4.0f s  %s", time.Since(p.begin).Seconds(), fmt.Sprintf(format, args...))
	}
}

// Clear makes room for other output.
func (p *Progress) Clear() {
	if p.to != nil {
		fmt.Fprint(p.to, "\r\033[K")
	}
}
