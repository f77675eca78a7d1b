package loader

import (
	"net/netip"
	"slices"
	"testing"
)

// Packets of no connection take no place, and are none that is refused: what a
// worker that dies leaves behind on its clients' side, or a flood of ACKs.
func TestStrays(t *testing.T) {
	for _, policy := range Policies() {
		t.Run(policy.String(), func(t *testing.T) {
			t.Parallel()
			w, peer, server := raw(t, 4)
			w.must(w.group.SetPolicy(policy))
			w.connect(8)
			strays := func(what string) {
				t.Helper()
				before := w.picks()
				for n := range 100 {
					h := peer.Handshake(netip.AddrPortFrom(peer.Client(server.Addr(), n), 2000), server)
					w.must(h.RST())
					w.must(h.ACK())
					if err := h.AwaitRST(patience); err != nil {
						t.Fatal(err)
					}
				}
				if s := w.snapshot(); !slices.Equal(w.picks(), before) || sum(w.pendings()) != 0 || s.Refused != 0 || s.Fallback != 0 {
					t.Errorf("%s: picks were %v, and are %v; pending %v; %d refused, %d left to the kernel",
						what, before, w.picks(), w.pendings(), s.Refused, s.Fallback)
				}
			}
			strays("with room")
			w.maxima(1, 1, 1, 1)
			strays("full")
			w.agree("as before")
		})
	}
}
