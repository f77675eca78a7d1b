package packets_test

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/internal/packets"
)

// A listener that takes data in a SYN has the connection before the ACK comes.
func TestSYNData(t *testing.T) {
	ns := netns.New(t)
	p := packets.NewPeer(t, ns)
	listener, server := listen(t, ns, p.Server4())
	err := ns.Do(func() error {
		const serverWithoutCookies = "514"
		return os.WriteFile("/proc/sys/net/ipv4/tcp_fastopen", []byte(serverWithoutCookies), 0)
	})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := listener.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 16)
	})
	if err != nil {
		t.Fatal(err)
	}

	h := p.Handshake(netip.AddrPortFrom(p.Client(server.Addr(), 0), 2000), server)
	if err := h.SYNData("early"); err != nil {
		t.Fatal(err)
	}
	conn := accept(t, listener)
	text := make([]byte, 16)
	conn.SetDeadline(time.Now().Add(patience))
	if n, err := conn.Read(text); string(text[:n]) != "early" {
		t.Errorf("read %q, %v before the ACK", text[:n], err)
	}
	if got := states(t, ns, server.Port()); got[synReceived] != 1 {
		t.Errorf("sockets by state: %v, want one in SYN_RECV (3)", got)
	}
	if err := h.SYNACK(patience); err != nil {
		t.Fatal(err)
	}
	if err := h.ACK(); err != nil {
		t.Fatal(err)
	}
	if got := states(t, ns, server.Port()); got[established] != 1 {
		t.Errorf("sockets by state: %v, want one established (1)", got)
	}
}

// A listener that doesn't take data in a SYN makes an ordinary connection of
// it, which a RST ends at any time.
func TestSYNDataNotTaken(t *testing.T) {
	ns := netns.New(t)
	p := packets.NewPeer(t, ns)
	listener, server := listen(t, ns, p.Server4())

	h := p.Handshake(netip.AddrPortFrom(p.Client(server.Addr(), 0), 2000), server)
	for _, step := range []func() error{
		func() error { return h.SYNData("early") },
		func() error { return h.SYNACK(patience) },
		h.ACK,
		func() error { return accept(t, listener).Close() },
		h.RST,
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	if got := states(t, ns, server.Port()); got[listening] != 1 || len(got) != 1 {
		t.Errorf("sockets by state: %v, want the listener (10) alone", got)
	}
}
