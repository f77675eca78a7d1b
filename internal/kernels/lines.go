package kernels

import (
	"bytes"
	"fmt"
	"io"
	"sync"
)

// maxLine is when a line without an end is written out all the same.
const maxLine = 64 << 10

// lines passes on whole lines with a prefix, so that guests that run at the same
// time don't mix. Carriage returns, which a serial console adds, are dropped.
type lines struct {
	mu      *sync.Mutex // shared by the writers of one out
	out     io.Writer
	prefix  string
	see     func(line string) // called for every line
	pending []byte
}

func (l *lines) Write(b []byte) (int, error) {
	l.pending = append(l.pending, bytes.ReplaceAll(b, []byte("\r"), nil)...)
	for {
		end, rest := bytes.IndexByte(l.pending, '\n'), 1
		if end < 0 {
			end, rest = len(l.pending), 0
			if end < maxLine {
				return len(b), nil
			}
		}
		if err := l.line(l.pending[:end]); err != nil {
			return 0, err
		}
		l.pending = l.pending[end+rest:]
	}
}

// flush writes what came after the last line end.
func (l *lines) flush() {
	if len(l.pending) > 0 {
		l.line(l.pending)
		l.pending = nil
	}
}

func (l *lines) line(b []byte) error {
	if l.see != nil {
		l.see(string(b))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := fmt.Fprintf(l.out, "%s%s\n", l.prefix, b)
	return err
}
