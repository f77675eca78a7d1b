package sockets

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/netns"
)

// BenchmarkShutUnderLoad shuts listeners of a group, one a millisecond, under as
// many connections as the machine makes, with the kernel's own migration
// (net.ipv4.tcp_migrate_req) and no program of anybody's. A connection whose
// handshake ends on one CPU at the very moment at which another shuts its
// listener is reset; resets/shutdown is how often.
func BenchmarkShutUnderLoad(b *testing.B) {
	ns := migratingNamespace(b)
	address := netip.MustParseAddrPort("[::1]:80")
	var listeners []int
	inside(b, ns, func() error {
		for range 4 {
			withFD(b, listen(b, "tcp6", address.String(), reusePort), func(fd int) { listeners = append(listeners, fd) })
		}
		return nil
	})
	var over atomic.Bool
	var connected, reset atomic.Int64
	var running sync.WaitGroup
	for range 3 {
		running.Go(func() {
			inside(b, ns, func() error {
				for !over.Load() {
					err := visit(address)
					if errors.Is(err, unix.ECONNRESET) {
						reset.Add(1)
					} else if err != nil {
						return err
					}
					connected.Add(1)
				}
				return nil
			})
		})
	}
	shut := 0
	for b.Loop() {
		fd := listeners[shut%len(listeners)]
		if err := shutAndListen(fd, 4096); err != nil {
			b.Error(err)
		}
		shut++
		drain(listeners)
		time.Sleep(time.Millisecond)
	}
	over.Store(true)
	running.Wait()
	b.ReportMetric(float64(reset.Load())/float64(shut), "resets/shutdown")
	b.ReportMetric(float64(connected.Load())/b.Elapsed().Seconds(), "connections/s")
}

func inside(b *testing.B, ns *netns.Namespace, f func() error) {
	if err := ns.Do(f); err != nil {
		b.Error(err)
	}
}

// visit connects and resets the connection.
func visit(address netip.AddrPort) error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = unix.Connect(fd, sockaddr(address))
	if errors.Is(err, unix.EINTR) { // by a signal of the Go runtime
		err = nil
	}
	return errors.Join(err, unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
}

// drain empties the accept queues.
func drain(listeners []int) {
	for _, listener := range listeners {
		for {
			fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
			if err != nil {
				break
			}
			unix.Close(fd)
		}
	}
}
