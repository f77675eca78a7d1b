package sockets

import (
	"cmp"
	"net/netip"
	"slices"
)

// Listener is a TCP socket that listens.
type Listener struct {
	// Cookie is the socket's number for the kernel and for BPF programs. That
	// of an MPTCP listener is the one of the TCP socket underneath, not what
	// SO_COOKIE says of its descriptor.
	Cookie uint64
	// Inode is the socket's number in /proc/PID/fd.
	Inode uint32
	// UID is the user who made it.
	UID uint32
	// Address is as the kernel has it: of an IPv6 socket that is bound to an
	// IPv4 address it is like ::ffff:127.0.0.1.
	Address netip.AddrPort
	// Interface is the index of the network device that the socket is bound
	// to, or 0.
	Interface uint32
	// V6Only is false for a dual-stack listener, and for one of IPv4.
	V6Only bool
	// MPTCP tells that the server's socket speaks MPTCP.
	MPTCP bool
	// Backlog is how many connections wait to be accepted.
	Backlog uint32
	// MaxBacklog is what the server said to listen(2), cut to net.core.somaxconn.
	MaxBacklog uint32
	// Cgroup is the ID of the cgroup v2 in which it was made, or 0 on a kernel
	// without.
	Cgroup uint64
}

// Group is what the kernel tells reuseport groups apart by, within one network
// namespace. Listeners with SO_REUSEPORT of one user and one Group share their
// connections.
type Group struct {
	Address   netip.AddrPort
	V6Only    bool
	Interface uint32
}

// Group returns the group that the listener is in if it has SO_REUSEPORT,
// which sock_diag doesn't tell: see Describe.
func (l Listener) Group() Group {
	return Group{Address: l.Address, V6Only: l.V6Only, Interface: l.Interface}
}

// Accepts tells whether the connection could have come through this listener.
// It could also have come through another one: of the same group, or one that
// is bound to its address where this one has the wildcard.
func (l Listener) Accepts(c Connection) bool {
	host, local := l.Address.Addr(), c.Local.Addr()
	switch {
	case l.Address.Port() != c.Local.Port() || host.Is4() != local.Is4():
		return false
	case host.Unmap().IsUnspecified():
		return !(l.V6Only && local.Is4In6()) && !(host.Is4In6() && !local.Is4In6())
	}
	return host == local
}

// Listeners returns the listeners of the calling thread's network namespace
// that the address means, sorted by address and then by inode. That is
// mostly the order in which they were made.
func Listeners(a Address) ([]Listener, error) {
	infos, err := query{states: Listen.bit(), port: a.Port, ulp: true}.run()
	if err != nil {
		return nil, err
	}

	var listeners []Listener
	for _, info := range infos {
		if l := info.listener(); a.Matches(l) {
			listeners = append(listeners, l)
		}
	}
	slices.SortFunc(listeners, func(x, y Listener) int {
		return cmp.Or(x.Address.Compare(y.Address), cmp.Compare(x.Inode, y.Inode))
	})
	return listeners, nil
}

func (s socketInfo) listener() Listener {
	return Listener{
		Cookie:     s.cookie,
		Inode:      s.inode,
		UID:        s.uid,
		Address:    s.local,
		Interface:  s.device,
		V6Only:     s.v6Only,
		MPTCP:      s.ulp == "mptcp",
		Backlog:    s.receiveQueue,
		MaxBacklog: s.sendQueue,
		Cgroup:     s.cgroup,
	}
}
