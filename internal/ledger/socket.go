package ledger

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// openSocket begins to connect and returns without waiting. refused is set if
// it is known already that nobody listens. An error is the client's own: no
// descriptor, no port.
func openSocket(server netip.AddrPort, from netip.Addr) (fd int, local netip.AddrPort, refused bool, err error) {
	family := unix.AF_INET6
	if server.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, local, false, fmt.Errorf("open a socket: %w", err)
	}
	if from.IsValid() {
		// The port is chosen by the connect, so that one serves several servers.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		if err := unix.Bind(fd, socketAddress(netip.AddrPortFrom(from, 0))); err != nil {
			unix.Close(fd)
			return -1, local, false, fmt.Errorf("bind to %s: %w", from, err)
		}
	}
	err = unix.Connect(fd, socketAddress(server))
	local = localEnd(fd)
	switch {
	case err == nil, errors.Is(err, unix.EINPROGRESS):
		return fd, local, false, nil
	case errors.Is(err, unix.ECONNREFUSED):
		return fd, local, true, nil
	}
	unix.Close(fd)
	return -1, local, false, fmt.Errorf("connect to %s: %w", server, err)
}

// abort closes with a RST, which leaves no TIME_WAIT on either side.
func abort(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	unix.Close(fd)
}

func socketAddress(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// localEnd is a socket's own address, the zero AddrPort if it has none.
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
