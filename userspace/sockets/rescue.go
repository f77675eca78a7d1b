package sockets

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

var (
	// ErrNoGroup says that a listener shares its port with nobody, because it
	// has not SO_REUSEPORT: nobody could take its queue over.
	ErrNoGroup = errors.New("not in a reuseport group")

	// ErrNotListening says that a socket doesn't listen.
	ErrNotListening = errors.New("not listening")
)

// Rescue moves the accept queue of a listener to others of its reuseport group,
// and leaves the listener listening. It needs nothing of the process that
// serves it, which may be stopped: fd is any duplicate of its descriptor.
// backlog is what the server said to listen(2), as Listener.MaxBacklog has it.
//
// It shuts the socket, at which the kernel migrates the queue, and listens
// again at once. So the kernel has to migrate: by net.ipv4.tcp_migrate_req, or
// by a program of the group that is of the kind for migration. Somebody else of
// the group must listen, too. Otherwise, the clients in the queue are reset.
//
// # What moves and what stays
//
// What waits to be accepted moves, also when its client has closed already.
// Connections that were accepted live on. A handshake that is not finished stays
// with this listener and ends in its queue, later: with TCP_DEFER_ACCEPT only
// when the client sends; after an overflow of the queue, when one side repeats
// its part, a second or more later. So look at the backlog again, and rescue
// again. A client whose SYN was dropped, since the queue was full, repeats it
// after a second and is picked anew.
//
// The socket keeps its cookie, its address, its BPF storage and its options
// (the kernel forgets TCP_MAXSEG and TCP_WINDOW_CLAMP; they are set again). It
// leaves every socket array at the shutdown, so it has to be added again.
//
// # What the server sees
//
// Nothing, while it is stopped or busy elsewhere: after it goes on, poll and
// epoll (level and edge triggered) tell of new connections as before, and an
// interrupted accept starts again.
//
// But a thread that waits in accept, poll or epoll wakes when the socket is shut,
// and mostly looks before the socket listens again: accept returns EINVAL, poll
// tells POLLHUP. Node, Python, nginx and lighttpd go on, some with a line in
// their log; a Go server ends, since net/http takes it for the end of the
// listener. So, unless the server is stopped, freeze its cgroup meanwhile
// (cgroup.freeze): then it sees nothing in this case either.
//
// Errors wrap ErrNotTCP, ErrNotListening or ErrNoGroup when nothing was done.
// After any other error the listener may be shut, and its server gets EINVAL
// from accept: restart it.
func Rescue(fd int, backlog uint32) error {
	if err := rescue(fd, backlog); err != nil {
		return fmt.Errorf("rescue the accept queue of descriptor %d: %w", fd, err)
	}
	return nil
}

func rescue(fd int, backlog uint32) error {
	before, err := rescuable(fd)
	if err != nil {
		return err
	}
	options := forgotten(fd)
	if err := shutAndListen(fd, backlog); err != nil {
		return err
	}
	after, err := localAddress(fd)
	if err != nil {
		return err
	}
	if after != before {
		if err := rebind(fd, backlog, before); err != nil {
			return err
		}
	}
	return options.restore(fd)
}

// rescuable returns the address of a listener that may have a group.
func rescuable(fd int) (netip.AddrPort, error) {
	var none netip.AddrPort
	mptcp, err := speaks(fd)
	if err != nil {
		return none, err
	}
	if mptcp {
		return none, fmt.Errorf("it speaks MPTCP, and so is %w", ErrNoGroup)
	}
	for _, needed := range []struct {
		option int
		lack   error
	}{{unix.SO_ACCEPTCONN, ErrNotListening}, {unix.SO_REUSEPORT, ErrNoGroup}} {
		set, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, needed.option)
		if err != nil {
			return none, err
		}
		if set == 0 {
			return none, needed.lack
		}
	}
	return localAddress(fd)
}

// shutAndListen does nothing in between: see Rescue on the race.
func shutAndListen(fd int, backlog uint32) error {
	if err := unix.Shutdown(fd, unix.SHUT_RDWR); err != nil {
		return fmt.Errorf("shutdown: %w", err)
	}
	if err := unix.Listen(fd, int(backlog)); err != nil {
		return fmt.Errorf("listen again: %w: the listener is shut now, restart its server", err)
	}
	return nil
}

// rebind gives a listener its port back. One that the kernel chose, since the
// server bound port 0, is given up at the shutdown, and listen takes another.
func rebind(fd int, backlog uint32, address netip.AddrPort) error {
	if err := unix.Shutdown(fd, unix.SHUT_RDWR); err != nil {
		return fmt.Errorf("shutdown: %w", err)
	}
	if err := unix.Bind(fd, sockaddr(address)); err != nil {
		return fmt.Errorf("bind to %s again, which the kernel chose: %w: the listener is shut now, restart its server", address, err)
	}
	if err := unix.Listen(fd, int(backlog)); err != nil {
		return fmt.Errorf("listen again: %w: the listener is shut now, restart its server", err)
	}
	return nil
}

// kept are values of the options that a socket forgets when it is shut.
type kept [len(forgettable)]int

var forgettable = [...]int{unix.TCP_MAXSEG, unix.TCP_WINDOW_CLAMP}

func forgotten(fd int) (options kept) {
	for i, option := range forgettable {
		options[i], _ = unix.GetsockoptInt(fd, unix.IPPROTO_TCP, option)
	}
	return options
}

// restore sets what has changed. What the server never set has the same default
// again, and has to stay unset.
func (k kept) restore(fd int) error {
	now := forgotten(fd)
	for i, option := range forgettable {
		if k[i] == now[i] {
			continue
		}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, option, k[i]); err != nil {
			return fmt.Errorf("set TCP option %d to %d again: %w", option, k[i], err)
		}
	}
	return nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
