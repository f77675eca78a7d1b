package membership

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/userspace/sockets"
)

// backlog asks for as long a queue as the machine allows: net.core.somaxconn.
const backlog = 1<<16 - 1

// ErrListener is wrapped when a worker brings a listener that isn't one of the
// group.
var ErrListener = errors.New("no listener for this group")

// bound makes a socket at the place, which doesn't listen. It shares the place
// with those of the same user. It is no os.File: see sockets.Socket.
func bound(at sockets.Group) (fd int, err error) {
	family := unix.AF_INET6
	if at.Address.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := bind(fd, at); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("bind to %s: %w", at.Address, err)
	}
	return fd, nil
}

func bind(fd int, at sockets.Group) error {
	if at.Address.Addr().Is6() {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, number(at.V6Only)); err != nil {
			return err
		}
	}
	for _, option := range []int{unix.SO_REUSEADDR, unix.SO_REUSEPORT} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1); err != nil {
			return err
		}
	}
	return unix.Bind(fd, sockaddr(at.Address))
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// listen makes a listener at the place. A deaf one drops each SYN, whose client
// repeats it a second later, until unix.SO_DETACH_FILTER: no connection can come
// to it before it has a slot.
func listen(at sockets.Group, deaf bool) (fd int, err error) {
	if fd, err = bound(at); err != nil {
		return -1, err
	}
	if deaf {
		err = deafen(fd)
	}
	if err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, backlog))
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func deafen(fd int) error {
	drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}
	return os.NewSyscallError("attach a filter", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop}))
}

// release lets connections in, and has nobody attach a program any more.
func release(fd int, deaf bool) error {
	if deaf {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0); err != nil {
			return os.NewSyscallError("detach a filter", err)
		}
	}
	return os.NewSyscallError("lock filters", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_LOCK_FILTER, 1))
}

// check describes a listener that a worker brings, or tells what is wrong with it. One that has
// a slot already may be of another user: of an earlier daemon's.
func (g *Group) check(fd int, has bool) (d sockets.Description, err error) {
	if d, err = sockets.Describe(fd); err != nil {
		return d, fmt.Errorf("%w: %w", ErrListener, err)
	}
	cookie, err := netnsCookie(fd)
	if err != nil {
		return d, err
	}
	if why := g.fault(d, cookie, has); why != "" {
		return d, fmt.Errorf("%w: %s", ErrListener, why)
	}
	return d, nil
}

// own makes a socket one of our user: only those of one user share a port.
func own(fd int, d sockets.Description) error {
	if int(d.UID) == os.Geteuid() {
		return nil
	}
	if err := unix.Fchown(fd, os.Geteuid(), -1); err != nil {
		return fmt.Errorf("take it over from user %d: %w", d.UID, err)
	}
	return nil
}

func (g *Group) fault(d sockets.Description, netns uint64, has bool) string {
	switch {
	case d.MPTCP:
		return "it speaks MPTCP, which can't be steered"
	case !d.Listening:
		return "it doesn't listen"
	case !d.ReusePort:
		return "it listens without SO_REUSEPORT"
	case netns != g.netns:
		return "it is of another network namespace: join without one, and get one of the daemon's"
	case placeOf(d) != g.place:
		return fmt.Sprintf("it listens at %s, and the group %s at %s", d.Address, g.name, g.place.Address)
	case g.standby != nil && g.standby.Cookie == d.Cookie:
		return "it is the service manager's"
	case int(d.UID) != os.Geteuid() && !has:
		return fmt.Sprintf("it was made by user %d, and those of the group are of user %d: join without one", d.UID, os.Geteuid())
	}
	return ""
}

// placeOf is where it listens. V6Only has a meaning for the wildcard alone.
func placeOf(d sockets.Description) sockets.Group {
	where := d.Group()
	where.V6Only = where.V6Only && where.Address.Addr().IsUnspecified()
	return where
}

// netnsCookie is the number of a socket's network namespace.
func netnsCookie(fd int) (uint64, error) {
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	return cookie, os.NewSyscallError("read SO_NETNS_COOKIE", err)
}
