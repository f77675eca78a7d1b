package sockets

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// ErrNotTCP says that a descriptor is of something else than a TCP socket.
var ErrNotTCP = errors.New("not a TCP socket")

// Description is what a descriptor tells of its socket.
type Description struct {
	// Listener is as Listeners would have it, except that Cookie is the
	// descriptor's also with MPTCP, and Cgroup is 0. The backlogs are 0 unless
	// the socket listens.
	Listener
	// Listening tells whether the socket listens.
	Listening bool
	// ReusePort tells whether the socket has SO_REUSEPORT.
	ReusePort bool
}

// Cookie returns the number of a socket that is never given twice.
func Cookie(fd int) (uint64, error) {
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		return 0, fmt.Errorf("read the cookie of descriptor %d: %w", fd, err)
	}
	return cookie, nil
}

// Describe tells what a descriptor's TCP socket is, in whichever network
// namespace. It wraps ErrNotTCP for anything else.
func Describe(fd int) (Description, error) {
	d, err := describe(fd)
	if err != nil {
		return Description{}, fmt.Errorf("describe descriptor %d: %w", fd, err)
	}
	return d, nil
}

func describe(fd int) (Description, error) {
	var d Description
	mptcp, err := speaks(fd)
	if err != nil {
		return d, err
	}
	d.MPTCP = mptcp

	if d.Cookie, err = Cookie(fd); err != nil {
		return d, err
	}
	if d.Inode, d.UID, err = owner(fd); err != nil {
		return d, err
	}
	if d.Address, err = localAddress(fd); err != nil {
		return d, err
	}
	if err := d.options(fd); err != nil {
		return d, err
	}
	if d.Listening {
		err = d.backlogs(fd)
	}
	return d, err
}

// speaks tells whether a TCP socket speaks MPTCP.
func speaks(fd int) (mptcp bool, err error) {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err == unix.ENOTSOCK {
		return false, ErrNotTCP
	}
	if err != nil {
		return false, err
	}
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return false, err
	}
	inet := domain == unix.AF_INET || domain == unix.AF_INET6
	if !inet || (protocol != unix.IPPROTO_TCP && protocol != unix.IPPROTO_MPTCP) {
		return false, ErrNotTCP
	}
	return protocol == unix.IPPROTO_MPTCP, nil
}

func owner(fd int) (inode, uid uint32, err error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return 0, 0, fmt.Errorf("stat: %w", err)
	}
	return uint32(stat.Ino), stat.Uid, nil
}

func localAddress(fd int) (netip.AddrPort, error) {
	name, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("getsockname: %w", err)
	}
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(name.Addr), uint16(name.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(name.Addr), uint16(name.Port)), nil
	}
	return netip.AddrPort{}, ErrNotTCP
}

// options reads the socket's options into d.
func (d *Description) options(fd int) error {
	var v6Only, listening, reusePort, device int
	wanted := []struct {
		name          string
		level, option int
		value         *int
	}{
		{"SO_ACCEPTCONN", unix.SOL_SOCKET, unix.SO_ACCEPTCONN, &listening},
		{"SO_REUSEPORT", unix.SOL_SOCKET, unix.SO_REUSEPORT, &reusePort},
		{"SO_BINDTOIFINDEX", unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, &device},
		{"IPV6_V6ONLY", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, &v6Only},
	}
	if d.Address.Addr().Is4() {
		wanted = wanted[:len(wanted)-1]
	}
	for _, w := range wanted {
		var err error
		if *w.value, err = unix.GetsockoptInt(fd, w.level, w.option); err != nil {
			return fmt.Errorf("read %s: %w", w.name, err)
		}
	}
	d.Listening, d.ReusePort, d.V6Only = listening != 0, reusePort != 0, v6Only != 0
	d.Interface = uint32(device)
	return nil
}

// backlogs reads the accept queue of a socket that listens.
func (d *Description) backlogs(fd int) error {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return fmt.Errorf("read TCP_INFO: %w", err)
	}
	// These two fields have another meaning for listeners.
	d.Backlog, d.MaxBacklog = info.Unacked, info.Sacked
	return nil
}
