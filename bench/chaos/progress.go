package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A console prints lines, and on a terminal one below them that is written over.
type console struct {
	mu       sync.Mutex
	out      io.Writer
	terminal *os.File // nil: there is none
}

func newConsole(out io.Writer) *console {
	c := &console{out: out}
	if out != os.Stdout {
		return c // somebody reads it later
	}
	if _, err := unix.IoctlGetTermios(int(os.Stderr.Fd()), unix.TCGETS); err == nil {
		c.terminal = os.Stderr
	}
	return c
}

func (c *console) line(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clear()
	fmt.Fprintf(c.out, format+"\n", args...)
}

func (c *console) progress(begin time.Time, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.terminal != nil {
		fmt.Fprintf(c.terminal, "\r\033[K%4.0f s  %s", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
	}
}

func (c *console) clear() {
	if c.terminal != nil {
		fmt.Fprint(c.terminal, "\r\033[K")
	}
}
