package clients

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/netns"
)

// connect opens a TCP connection to server from namespace, nil for the one that
// the caller is in, in no more than timeout. It also returns the connection's
// own end, which is known whether or not the server answered: package net
// tells nothing of a connection that failed.
func connect(namespace *netns.Namespace, server netip.AddrPort, timeout time.Duration) (*os.File, netip.AddrPort, error) {
	fd, err := socketIn(namespace, server.Addr())
	if err != nil {
		return nil, netip.AddrPort{}, fmt.Errorf("open a socket: %w", err)
	}
	started := unix.Connect(fd, socketAddress(server))
	local := localEnd(fd)

	file := os.NewFile(uintptr(fd), server.String())
	if err := connected(file, started, timeout); err != nil {
		file.Close()
		return nil, local, fmt.Errorf("connect to %s: %w", server, err)
	}
	return file, local, nil
}

// socketIn makes a non-blocking socket. Only its birth needs the namespace:
// what comes after goes where the socket belongs.
func socketIn(namespace *netns.Namespace, server netip.Addr) (fd int, err error) {
	open := func() error {
		fd, err = unix.Socket(family(server), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		return err
	}
	if namespace == nil {
		err = open()
	} else {
		err = namespace.Do(open)
	}
	if err != nil {
		return -1, err
	}
	// Small questions must not wait for the answers to earlier ones.
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// connected waits until the connect call that began with started has ended.
func connected(file *os.File, started error, timeout time.Duration) error {
	if started != nil && !errors.Is(started, unix.EINPROGRESS) {
		return started
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	if err := file.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	var failure error
	err = raw.Write(func(fd uintptr) (done bool) {
		done, failure = outcome(int(fd))
		return done
	})
	return errors.Join(err, failure)
}

// outcome tells whether a connect call has ended, and how.
func outcome(fd int) (done bool, err error) {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return true, err
	}
	if code != 0 {
		return true, unix.Errno(code)
	}
	_, err = unix.Getpeername(fd)
	if errors.Is(err, unix.ENOTCONN) {
		return false, nil
	}
	return true, err
}

func family(addr netip.Addr) int {
	if addr.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func socketAddress(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// localEnd returns a socket's own address; the zero AddrPort if it has none.
func localEnd(fd int) netip.AddrPort {
	name, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}
	}
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return netip.AddrPort{}
}
