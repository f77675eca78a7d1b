package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/bench/peers/go/app"
)

// A source gives one connection after the other.
type source interface {
	// next waits for a connection, not for ever: the error wraps unix.EAGAIN
	// when none came.
	next() (fd int, err error)
	// ended says that the last one is closed.
	ended()
}

const (
	// lookUp is how often an idle worker looks whether it is to end. Signals
	// don't end an accept, since Go's handlers restart it.
	lookUp = 100 * time.Millisecond
	// requestWithin is how long a client may take; all others wait for it.
	requestWithin = time.Second
)

// serveSerial has one thread that does one thing at a time, so that connections
// wait in the source and nowhere else. That is what makes a listener of several
// workers a central queue.
func serveSerial(work *app.Work, from source) error {
	runtime.LockOSThread()
	var over atomic.Bool
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	go func() {
		<-told
		over.Store(true)
	}()
	buffer := make([]byte, 4096)
	for !over.Load() {
		fd, err := from.next()
		switch {
		case errors.Is(err, errNoMaster):
			return nil
		case isPassing(err):
			continue
		case err != nil:
			return err
		}
		answer(work, fd, buffer)
		unix.Close(fd)
		from.ended()
	}
	return nil
}

// isPassing tells errors of one connection, or of none.
func isPassing(err error) bool {
	return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) || errors.Is(err, unix.ECONNABORTED)
}

// answer serves one request. A client that doesn't ask gets nothing.
func answer(work *app.Work, fd int, buffer []byte) {
	limit := unix.NsecToTimeval(int64(requestWithin))
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
	head := readHead(fd, buffer)
	if head == nil {
		return
	}
	response := refusal
	if d, ok := asked(head); ok {
		work.Sleep(d)
		response = success
	}
	_, _ = unix.Write(fd, response)
}

var (
	success = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(app.Answer), app.Answer)
	refusal = []byte("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
)

// readHead reads to the end of a request's head; nil if it doesn't come.
func readHead(fd int, buffer []byte) []byte {
	for n := 0; n < len(buffer); {
		more, err := unix.Read(fd, buffer[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || more == 0 {
			return nil
		}
		n += more
		if bytes.HasSuffix(buffer[:n], []byte("\r\n\r\n")) {
			return buffer[:n]
		}
	}
	return nil
}

// asked is for how long a request wants to be worked on.
func asked(head []byte) (time.Duration, bool) {
	line, _, _ := bytes.Cut(head, []byte("\r\n"))
	fields := bytes.Fields(line)
	if len(fields) != 3 || string(fields[0]) != "GET" {
		return 0, false
	}
	target, err := url.ParseRequestURI(string(fields[1]))
	if err != nil || target.Path != "/" && target.Path != "/work" {
		return 0, false
	}
	d, err := app.Parse(target.Query().Get("us"))
	return d, err == nil
}

// A listener accepts by itself.
type listener struct{ file *os.File }

// accepting makes a listener of a file, which blocks for a while.
func accepting(file *os.File) listener {
	wait := unix.NsecToTimeval(int64(lookUp))
	fd := int(file.Fd())
	_ = unix.SetNonblock(fd, false)
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait)
	return listener{file}
}

func (l listener) next() (int, error) {
	fd, _, err := unix.Accept4(int(l.file.Fd()), unix.SOCK_CLOEXEC)
	return fd, err
}

func (listener) ended() {}
