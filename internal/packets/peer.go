package packets

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"testing"

	"github.com/sockdist/sockdist/internal/netns"
)

// The peer's networks: the one that is set aside for benchmarks of networks,
// and one of the locally assigned kind. The namespace has their first address,
// and all others belong to the peer.
var (
	peerNetwork4 = netip.MustParsePrefix("198.18.0.1/16")
	peerNetwork6 = netip.MustParsePrefix("fd73:6f63:6b64::1/64")
)

const (
	// clientAddresses is how many addresses Client tells apart.
	clientAddresses = 4096
	// firstPort is the lowest source port; firstPort and those above it, up to
	// 65535, are used in turn.
	firstPort = 1024
)

// Peer is a host without a TCP of its own at the far end of a link into a
// namespace. A namespace can have one. It may be used from several goroutines.
type Peer struct {
	link *os.File

	mu      sync.Mutex
	open    map[ends]*Handshake
	clients int // source ends given out so far
}

// ends are the two ends of a connection, the client's first.
type ends struct{ client, server netip.AddrPort }

// NewPeer makes a link into ns and a peer at its far end. Both end with t; a
// listener in ns sees no end of its connections then, only silence.
func NewPeer(t testing.TB, ns *netns.Namespace) *Peer {
	t.Helper()

	link, err := openTun(ns, peerNetwork4, peerNetwork6)
	if err != nil {
		t.Fatalf("make a raw peer: %v", err)
	}
	p := &Peer{link: link, open: make(map[ends]*Handshake)}

	var reader sync.WaitGroup
	reader.Go(p.receive)
	t.Cleanup(func() {
		link.Close()
		reader.Wait()
	})
	return p
}

// Server4 is the IPv4 address of the namespace on this link.
func (p *Peer) Server4() netip.Addr { return peerNetwork4.Addr() }

// Server6 is the IPv6 address of the namespace on this link.
func (p *Peer) Server6() netip.Addr { return peerNetwork6.Addr() }

// Client returns an address of the peer, of the version of server. Equal i
// give equal addresses, those from 0 to 4095 differ, and then they repeat.
func (p *Peer) Client(server netip.Addr, i int) netip.Addr {
	network := peerNetwork4
	if server.Is6() {
		network = peerNetwork6
	}
	b := network.Addr().AsSlice()
	// From x.x.16.0, far from the namespace's own address.
	binary.BigEndian.PutUint16(b[len(b)-2:], uint16(clientAddresses+i%clientAddresses))
	client, _ := netip.AddrFromSlice(b)
	return client
}

// Handshake prepares a handshake between two ends; nothing is sent yet. The
// client's address should be one of Client's.
func (p *Peer) Handshake(client, server netip.AddrPort) *Handshake {
	h := newHandshake(p, ends{client, server})

	p.mu.Lock()
	defer p.mu.Unlock()
	p.open[h.ends] = h
	return h
}

// SYNs begins n handshakes with server and leaves them half open. Each comes
// from an address and port of its own, and from others than those of earlier
// calls. All have reached the listener when it returns.
func (p *Peer) SYNs(server netip.AddrPort, n int) ([]*Handshake, error) {
	begun := make([]*Handshake, 0, n)
	for range n {
		h := p.Handshake(p.nextClient(server.Addr()), server)
		begun = append(begun, h)
		if err := h.SYN(); err != nil {
			return begun, err
		}
	}
	return begun, nil
}

// SYNsFrom is SYNs from the given clients, one handshake each.
func (p *Peer) SYNsFrom(server netip.AddrPort, clients ...netip.AddrPort) ([]*Handshake, error) {
	begun := make([]*Handshake, 0, len(clients))
	for _, client := range clients {
		h := p.Handshake(client, server)
		begun = append(begun, h)
		if err := h.SYN(); err != nil {
			return begun, err
		}
	}
	return begun, nil
}

// nextClient gives a source end that no handshake of this peer had before.
func (p *Peer) nextClient(server netip.Addr) netip.AddrPort {
	p.mu.Lock()
	defer p.mu.Unlock()

	i := p.clients
	p.clients++
	port := firstPort + i/clientAddresses%(1<<16-firstPort)
	return netip.AddrPortFrom(p.Client(server, i), uint16(port))
}

// send gives s to the namespace, whose kernel has handled it on return.
func (p *Peer) send(s segment) error {
	if _, err := p.link.Write(s.packet()); err != nil {
		return fmt.Errorf("send a packet from %s to %s: %w", s.from, s.to, err)
	}
	return nil
}

// receive hands what the namespace sends to the handshake that it is for,
// until the link is closed.
func (p *Peer) receive() {
	packet := make([]byte, largestPacket)
	for {
		n, err := p.link.Read(packet)
		if err != nil {
			return
		}
		if s, ok := parse(packet[:n]); ok {
			p.deliver(s)
		}
	}
}

func (p *Peer) deliver(s segment) {
	p.mu.Lock()
	h := p.open[ends{client: s.to, server: s.from}]
	p.mu.Unlock()

	if h != nil {
		h.receive(s)
	}
}
