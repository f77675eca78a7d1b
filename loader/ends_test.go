package loader

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience is far more than any packet takes here.
var patience = time.Duration(scaled(10, 60)) * time.Second

// An end is one end of a TCP connection. The tests use bare sockets: the
// runtime's poller would close, read and accept at moments of its own.
type end struct {
	fd            int
	cookie        uint64
	local, remote netip.AddrPort
	closing       sync.Once
}

// connect opens a connection from the namespace of the calling thread.
func connect(to netip.AddrPort, prepare ...func(fd int) error) (*end, error) {
	fd, err := clientSocket(to.Addr(), prepare...)
	if err != nil {
		return nil, err
	}
	err = unix.Connect(fd, sockaddr(to))
	if err == unix.EINTR { // by a signal of the Go runtime; it goes on
		err = connected(fd)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("connect to %s: %w", to, err)
	}
	return newEnd(fd)
}

// connected waits for the end of a connect that is under way.
func connected(fd int) error {
	wait := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		n, err := unix.Poll(wait, 100)
		if err != nil && err != unix.EINTR {
			return err
		}
		if n == 0 || err != nil {
			continue
		}
		code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && code != 0 {
			err = unix.Errno(code)
		}
		return err
	}
	return unix.ETIMEDOUT
}

func clientSocket(to netip.Addr, prepare ...func(fd int) error) (int, error) {
	fd, err := unix.Socket(familyOf(to), unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, err
	}
	for _, p := range append(prepare, bePatient) {
		if err := p(fd); err != nil {
			unix.Close(fd)
			return -1, err
		}
	}
	return fd, nil
}

// bePatient bounds every wait on the socket.
func bePatient(fd int) error {
	limit := unix.NsecToTimeval(patience.Nanoseconds())
	return errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit))
}

// from lets a client have this address and any port.
func from(address netip.Addr) func(fd int) error {
	return func(fd int) error {
		if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return err
		}
		return unix.Bind(fd, sockaddr(netip.AddrPortFrom(address, 0)))
	}
}

func newEnd(fd int) (*end, error) {
	e := &end{fd: fd}
	var err error
	if e.cookie, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE); err != nil {
		return nil, err
	}
	local, err := unix.Getsockname(fd)
	if err != nil {
		return nil, err
	}
	e.local = addrPort(local)
	// One that was reset has no peer any more.
	if remote, err := unix.Getpeername(fd); err == nil {
		e.remote = addrPort(remote)
	}
	return e, nil
}

// closeNow closes a descriptor so that the socket ends with it. A process that a
// test beside this one forks has a copy of every descriptor until it execs, and a
// socket lives for as long as there is one; while it is so, the lock is held.
func closeNow(fd int) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	unix.Close(fd)
}

// close ends the connection with a FIN, or with a RST if data is unread.
func (e *end) close() { e.closing.Do(func() { closeNow(e.fd) }) }

// reset ends it with a RST.
func (e *end) reset() {
	e.closing.Do(func() {
		_ = unix.SetsockoptLinger(e.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		closeNow(e.fd)
	})
}

// finish closes this end's direction.
func (e *end) finish() error { return unix.Shutdown(e.fd, unix.SHUT_WR) }

func (e *end) send(text string) error {
	_, err := unix.SendmsgN(e.fd, []byte(text), nil, nil, unix.MSG_NOSIGNAL)
	return err
}

// receive reads once: "" is the end of the other direction.
func (e *end) receive() (string, error) {
	buffer := make([]byte, 256)
	for {
		n, err := unix.Read(e.fd, buffer)
		if err == unix.EINTR {
			continue
		}
		return string(buffer[:max(n, 0)]), err
	}
}

func familyOf(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// addrPort gives IPv4 addresses of an IPv6 socket as IPv4.
func addrPort(a unix.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// together calls f with 0 … n-1, all at once.
func together(n int, f func(i int)) {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-start
			f(i)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
}
