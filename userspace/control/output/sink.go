package output

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// sink writes to the two streams in the order in which it is given text, and
// keeps nobody waiting for longer than Patience.
type sink struct {
	streams [2]io.Writer
	done    chan struct{} // closed when all is written after close

	mu       sync.Mutex
	changed  *sync.Cond
	queue    []entry
	size     int // bytes in queue
	dropping bool
	dropped  int
	closed   bool
}

type entry struct {
	to   Stream
	text []byte
}

func newSink(stdout, stderr io.Writer) *sink {
	s := &sink{streams: [2]io.Writer{Stdout: stdout, Stderr: stderr}, done: make(chan struct{})}
	s.changed = sync.NewCond(&s.mu)
	go s.write()
	return s
}

// put takes over text.
func (s *sink) put(to Stream, text []byte) {
	if len(text) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()

	if !s.dropping && s.size > QueueSize && !s.waitForRoom() {
		s.dropping = true
	}
	if s.dropping {
		if s.size > QueueSize/2 {
			s.dropped++
			return
		}
		s.resume()
	}
	s.add(entry{to, text})
}

func (s *sink) add(e entry) {
	s.queue = append(s.queue, e)
	s.size += len(e.text)
	s.changed.Broadcast()
}

// waitForRoom tells whether the queue got room in time.
func (s *sink) waitForRoom() bool {
	deadline := time.Now().Add(Patience)
	timer := time.AfterFunc(Patience, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.changed.Broadcast()
	})
	defer timer.Stop()
	for s.size > QueueSize && !s.dropping {
		if !time.Now().Before(deadline) {
			return false
		}
		s.changed.Wait()
	}
	return !s.dropping
}

// resume ends the dropping and says so.
func (s *sink) resume() {
	if s.dropped > 0 {
		s.add(entry{Stderr, fmt.Appendf(nil,
			"sockdist: dropped %d lines of the workers' output, because nobody read them for %v\n", s.dropped, Patience)})
	}
	s.dropping, s.dropped = false, 0
}

// write is the one goroutine that writes, so the one that may block.
func (s *sink) write() {
	defer close(s.done)
	for {
		batch, ok := s.take()
		if !ok {
			return
		}
		s.writeBatch(batch)
		s.forget(batch)
	}
}

// take waits for something to write. What it returns stays in the queue's
// account until it is written: see forget.
func (s *sink) take() ([]entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) == 0 {
		switch {
		case s.dropping:
			s.resume()
		case s.closed:
			return nil, false
		default:
			s.changed.Wait()
		}
	}
	batch := s.queue
	s.queue = nil
	return batch, true
}

func (s *sink) forget(batch []entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range batch {
		s.size -= len(e.text)
	}
	s.changed.Broadcast()
}

// writeBatch joins what goes to the same stream in a row. A stream that can't
// be written any more (its reader is gone) is left alone from then on.
func (s *sink) writeBatch(batch []entry) {
	for len(batch) > 0 {
		to, text := batch[0].to, batch[0].text
		batch = batch[1:]
		for len(batch) > 0 && batch[0].to == to && len(text) < PieceSize {
			text = append(text, batch[0].text...)
			batch = batch[1:]
		}
		if err := writeAll(s.streams[to], text); err != nil {
			s.streams[to] = io.Discard
		}
	}
}

// close lets everything in the queue be written, and then ends the writing.
func (s *sink) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.changed.Broadcast()
}

// writeAll writes to files by hand. Another program may have made the terminal
// non-blocking behind our back; and an error of standard output must not end
// this process, as it does through an os.File.
func writeAll(w io.Writer, text []byte) error {
	file, ok := w.(*os.File)
	if !ok {
		_, err := w.Write(text)
		return err
	}
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) { failed = writeDescriptor(int(fd), text) })
	return errors.Join(err, failed)
}

func writeDescriptor(fd int, text []byte) error {
	for len(text) > 0 {
		n, err := unix.Write(fd, text)
		switch {
		case err == nil:
			text = text[n:]
		case errors.Is(err, unix.EAGAIN):
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1)
			if err != nil && !errors.Is(err, unix.EINTR) {
				return err
			}
		case !errors.Is(err, unix.EINTR):
			return err
		}
	}
	return nil
}
