package loader

import (
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// A worker is a listener and what was accepted from it. It accepts when the
// test says so, and not before.
type worker struct {
	slot     int
	fd       int
	cookie   uint64
	address  netip.AddrPort
	accepted []*end
	took     int // connections that it ever accepted
	open     bool
	ns       *netns.Namespace // where it listens, if it is in a world
}

// A socketOption is set before bind.
type socketOption struct{ level, name, value int }

var (
	reusePort = socketOption{unix.SOL_SOCKET, unix.SO_REUSEPORT, 1}
	v6Only    = socketOption{unix.SOL_IPV6, unix.IPV6_V6ONLY, 1}
	dualStack = socketOption{unix.SOL_IPV6, unix.IPV6_V6ONLY, 0}
)

// bound makes a socket that is bound and doesn't listen yet.
func bound(address netip.AddrPort, protocol int, options ...socketOption) (fd int, err error) {
	fd, err = unix.Socket(familyOf(address.Addr()), unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return -1, err
	}
	for _, o := range options {
		if err == nil {
			err = unix.SetsockoptInt(fd, o.level, o.name, o.value)
		}
	}
	if err == nil {
		err = unix.Bind(fd, sockaddr(address))
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("bind %s: %w", address, err)
	}
	return fd, nil
}

// newWorker listens in the namespace of the calling thread.
func newWorker(address netip.AddrPort, options ...socketOption) (*worker, error) {
	fd, err := bound(address, unix.IPPROTO_TCP, append(options, reusePort)...)
	if err != nil {
		return nil, err
	}
	if err := unix.Listen(fd, 4096); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	e, err := newEnd(fd)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &worker{fd: fd, cookie: e.cookie, address: e.local, open: true}, nil
}

// newWorkers makes n listeners that share an address.
func newWorkers(n int, address netip.AddrPort, options ...socketOption) ([]*worker, error) {
	workers := make([]*worker, 0, n)
	for range n {
		w, err := newWorker(address, options...)
		if err != nil {
			for _, w := range workers {
				w.close()
			}
			return nil, err
		}
		workers = append(workers, w)
		address = netip.AddrPortFrom(address.Addr(), w.address.Port())
	}
	return workers, nil
}

func (w *worker) listener() Listener { return Listener{FD: w.fd, PID: os.Getpid()} }

// close closes the listener. What was accepted stays open.
func (w *worker) close() {
	if w.open {
		w.open = false
		closeNow(w.fd)
		w.gone()
	}
}

// gone waits for the end of a listener whose descriptors were all closed: a
// process that execs just now may have let go of it only after that. What comes too
// late the test's own checks will find.
func (w *worker) gone() {
	if w.ns == nil {
		return
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		var listening map[uint64]uint32
		err := w.ns.Do(func() (err error) {
			listening, err = sockets.Backlogs(w.address.Port())
			return err
		})
		if _, ok := listening[w.cookie]; !ok && err == nil {
			return
		}
	}
}

// shut ends the listening, and leaves the socket open.
func (w *worker) shut() error { return unix.Shutdown(w.fd, unix.SHUT_RD) }

// accept takes one connection out of the queue; nil if there is none.
func (w *worker) accept() (*end, error) {
	fd, _, err := unix.Accept4(w.fd, unix.SOCK_CLOEXEC)
	if err == unix.EAGAIN {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("accept at slot %d: %w", w.slot, err)
	}
	e, err := newEnd(fd)
	if err == nil {
		err = bePatient(fd)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	w.accepted = append(w.accepted, e)
	w.took++
	return e, nil
}

// acceptAll empties the queue and returns what was in it.
func (w *worker) acceptAll(t testing.TB) (taken []*end) {
	t.Helper()
	for {
		e, err := w.accept()
		if err != nil {
			t.Fatal(err)
		}
		if e == nil {
			return taken
		}
		taken = append(taken, e)
	}
}
