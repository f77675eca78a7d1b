package main

import (
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/sockdist/sockdist/bench/show"
)

// A console prints lines, and on a terminal one below them that is written over.
type console struct {
	mu       sync.Mutex
	out      io.Writer
	terminal *show.Progress
}

func newConsole(out io.Writer) *console {
	if out != os.Stdout {
		return &console{out: out, terminal: &show.Progress{}} // somebody reads it later
	}
	return &console{out: out, terminal: show.NewProgress(os.Stderr)}
}

func (c *console) line(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.terminal.Clear()
	fmt.Fprintf(c.out, format+"\n", args...)
}

func (c *console) progress(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.terminal.Show(format, args...)
}
