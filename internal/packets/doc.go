// Package packets speaks TCP to a listener in a test namespace without a
// kernel on the client's side, so that a test decides how far each handshake
// goes and how long it takes.
//
// A [Peer] is the far end of a point-to-point link: a tun device in the
// listener's namespace, read and written by the test itself. The addresses
// behind it belong to nobody, so nobody answers a SYN-ACK with a RST: a
// handshake stays as open as the test left it, until the kernel of the
// listener gives it up (about a minute with its defaults). One write is one
// packet, and the kernel has received it, and chosen its listener, by the time
// the write returns.
//
//	p := packets.NewPeer(t, ns)
//	half, err := p.SYNs(netip.AddrPortFrom(p.Server4(), port), 1000)
//
// A [Delay] joins two namespaces by a link on which every packet takes half a
// round trip, for ordinary clients whose handshakes shall take time. Durations
// are lower bounds: a busy machine delivers later, never earlier, and never in
// another order.
//
// Both need CAP_NET_ADMIN and the tun driver, and end with the test.
package packets
