package loader

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// serve accepts from a worker and ends each connection, in one of several ways,
// until stop is called. What it accepts is not noted.
func (w *world) serve(worker *worker, end func(n int, fd int)) (stop func()) {
	var ending atomic.Bool
	var running sync.WaitGroup
	running.Go(func() {
		poll := []unix.PollFd{{Fd: int32(worker.fd), Events: unix.POLLIN}}
		for n := 0; ; {
			fd, _, err := unix.Accept4(worker.fd, unix.SOCK_CLOEXEC)
			switch {
			case err == nil:
				end(n, fd)
				n++
			case err == unix.EAGAIN && ending.Load():
				return
			case err == unix.EAGAIN:
				_, _ = unix.Poll(poll, 20)
			case err != unix.EINTR && err != unix.ECONNABORTED:
				w.t.Error(err)
				return
			}
		}
	})
	return sync.OnceFunc(func() {
		ending.Store(true)
		running.Wait()
	})
}

// endBy ends a connection by number: with a RST, with a FIN at once, or with a
// FIN after the other's. Who is to say his first says it before he waits.
func endBy(n, fd int, first bool) {
	defer unix.Close(fd)
	switch n % 3 {
	case 0:
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	case 1:
		_ = bePatient(fd)
		if first {
			_ = unix.Shutdown(fd, unix.SHUT_WR)
		}
		_, _ = unix.Read(fd, make([]byte, 1))
	}
}

// Many short connections, ended in all ways by either side, leave nothing.
func TestCountsOfManyShortConnections(t *testing.T) {
	w := newWorld(t, 8, Least)
	w.incomplete = true
	w.sysctl("net.ipv4.ip_local_port_range", "1024 65535")
	for _, worker := range w.workers {
		t.Cleanup(w.serve(worker, func(n, fd int) { endBy(n, fd, false) }))
	}
	const clients = 4
	each := scaled(100_000, 5_000) / clients
	together(clients, func(i int) {
		err := w.ns.Do(func() error {
			for n := range each {
				// TIME-WAIT keeps ports: another address has others.
				address := netip.AddrFrom4([4]byte{127, 1, byte(i), byte(n % 8)})
				fd, err := clientSocket(w.server.Addr(), from(address))
				if err != nil {
					return err
				}
				err = unix.Connect(fd, sockaddr(w.server))
				if err == unix.EINTR {
					err = connected(fd)
				}
				endBy(n/8, fd, true)
				if err != nil && err != unix.ECONNRESET { // the server's end came first
					return fmt.Errorf("connection %d: %w", n, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	w.agree("afterwards")
	w.empty("afterwards")
	if s := w.snapshot(); s.Stale != 0 || s.Fallback != 0 || s.Retries != 0 {
		t.Errorf("%+v", s)
	}
	total := uint64(0)
	for _, s := range w.snapshot().Slots {
		total += s.Picks
	}
	if total < uint64(each*clients) { // a SYN that came twice was picked twice
		t.Errorf("%d picks for %d connections", total, each*clients)
	}
}
