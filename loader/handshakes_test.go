package loader

import (
	"net/netip"
	"testing"

	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/internal/packets"
)

// Handshakes that are given up count nothing, whether by a RST or by silence.
func TestCountsOfAbortedHandshakes(t *testing.T) {
	t.Parallel()
	ns := netns.New(t)
	peer := packets.NewPeer(t, ns)
	w := newWorld(t, 4, Least, in(ns), at("::", "::1", dualStack))
	for _, address := range []netip.Addr{peer.Server4(), peer.Server6()} {
		half, err := peer.SYNs(netip.AddrPortFrom(address, w.server.Port()), 40)
		w.must(err)
		for _, h := range half {
			w.must(h.SYNACK(patience))
		}
		w.agree("half open")
		for _, h := range half[:20] {
			w.must(h.RST())
		}
		w.agree("aborted")
		for _, h := range half[20:30] {
			w.must(h.ACK())
		}
		w.agree("completed")
		if n := sum(w.shares()); n != 10 {
			t.Errorf("%d connections are counted, 10 handshakes were completed", n)
		}
		w.acceptAll()
		for _, h := range half[20:30] {
			w.must(h.RST())
		}
		w.agree("reset")
	}
}

// With SYN cookies there is nothing between SYN and ACK, and the choice is made
// at both; the second one holds.
func TestCountsWithSYNCookies(t *testing.T) {
	for kind, where := range loopbacks {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 4, Least, where)
			w.sysctl("net.ipv4.tcp_syncookies", "2")
			clients := w.connect(60)
			if n := w.extension("SyncookiesRecv"); n < 60 {
				t.Fatalf("%d of 60 connections came by a cookie", n)
			}
			w.agree("in the queues")
			servers := w.acceptAll()
			w.each("closed by servers", servers[:30], closeEnd)
			w.each("reset by clients", clients, resetEnd)
			w.each("closed by servers after a reset", servers[30:], closeEnd)
		})
	}
}
