package load

import (
	"errors"
	"net/netip"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// sources is how many addresses of 127.0.0.0/8 connections come from. With
// 28,000 ports each, and a minute for which a closed connection blocks its
// ports, they last for 100,000 connections a second.
const sources = 240

// opened counts connections, of all clients.
var opened atomic.Uint32

// sockaddr is an address as system calls want it.
func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Unmap().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().Unmap().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// spreads tells whether connections to it may come from any loopback address.
func spreads(server netip.AddrPort) bool {
	return server.Addr().Unmap().Is4() && server.Addr().IsLoopback()
}

// connect begins a connection that doesn't block. An error is one of this
// package.
func connect(server unix.Sockaddr, family int, spread bool) (fd int, err error) {
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, failure(err)
	}
	if spread {
		err = bindNext(fd)
	}
	if err == nil {
		err = unix.Connect(fd, server)
	}
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		unix.Close(fd)
		return -1, failure(err)
	}
	return fd, nil
}

// bindNext leaves the port for connect to choose: then it only has to be unused
// towards this server.
func bindNext(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return err
	}
	return unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 1, byte(1 + opened.Add(1)%sources)}})
}
