package sockets

import "net/netip"

// Connection is a TCP socket that doesn't listen.
type Connection struct {
	// Cookie is the socket's number for the kernel and for BPF programs.
	Cookie uint64
	// Inode is the socket's number in /proc/PID/fd, or 0 when no process has
	// it: not accepted yet, or closed by its process and not by the peer.
	Inode uint32
	State State
	// Local and Remote are as the kernel has them: a connection over IPv4 that
	// came through a dual-stack listener has addresses like ::ffff:127.0.0.1.
	Local, Remote netip.AddrPort
}

// Queued tells whether the connection waits in an accept queue.
func (c Connection) Queued() bool {
	// A process that closes an established connection moves it on to another
	// state, so without an inode it never had a process.
	return c.Inode == 0 && (c.State == Established || c.State == CloseWait)
}

// Connections returns the sockets of the calling thread's network namespace,
// other than listeners and the remnants in TIME-WAIT, whose local address is
// one on which a listener of this Address takes connections. The kernel picks
// them by state and port; of other ports nothing is copied. Half-open handshakes
// are among them as SynReceived.
func Connections(a Address) ([]Connection, error) {
	return ConnectionsIn(a, Established, SynSent, SynReceived, FinWait1, FinWait2, CloseWait, LastAck, Closing)
}

// ConnectionsIn is Connections for the states that are named, which can also be
// TimeWait.
func ConnectionsIn(a Address, states ...State) ([]Connection, error) {
	var wanted uint32
	for _, s := range states {
		wanted |= s.bit()
	}
	wanted &^= Listen.bit()

	asked := wanted
	if wanted&TimeWait.bit() != 0 {
		asked |= FinWait2.bit() // see decode
	}
	infos, err := query{states: asked, port: a.Port}.run()
	if err != nil {
		return nil, err
	}

	var connections []Connection
	for _, s := range infos {
		if wanted&s.state.bit() == 0 || !a.covers(s.local) {
			continue
		}
		connections = append(connections, Connection{
			Cookie: s.cookie, Inode: s.inode, State: s.state, Local: s.local, Remote: s.remote,
		})
	}
	return connections, nil
}
