package packets_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/internal/packets"
)

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

var versions = []struct {
	name   string
	server func(*packets.Peer) netip.Addr
}{
	{"IPv4", (*packets.Peer).Server4},
	{"IPv6", (*packets.Peer).Server6},
}

func TestSYNsStayHalfOpen(t *testing.T) {
	for _, version := range versions {
		t.Run(version.name, func(t *testing.T) {
			const n = 1000
			ns := netns.New(t)
			p := packets.NewPeer(t, ns)
			listener, server := listen(t, ns, version.server(p))

			half, err := p.SYNs(server, n)
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range half {
				if err := h.SYNACK(patience); err != nil {
					t.Fatal(err)
				}
			}

			got := states(t, ns, server.Port())
			if got[synReceived] != n || got[established] != 0 {
				t.Errorf("sockets by state: %v, want %d in SYN_RECV (3) and none established (1)", got, n)
			}
			listener.SetDeadline(time.Now())
			if _, err := listener.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("accept: %v, want nothing to accept", err)
			}
			differ(t, half)
		})
	}
}

func TestSYNsFromGivenClients(t *testing.T) {
	ns := netns.New(t)
	p := packets.NewPeer(t, ns)
	_, server := listen(t, ns, p.Server4())

	one := p.Client(server.Addr(), 7)
	half, err := p.SYNsFrom(server, netip.AddrPortFrom(one, 2000), netip.AddrPortFrom(one, 2001))
	if err != nil {
		t.Fatal(err)
	}
	if len(half) != 2 || half[0].Client().Addr() != one || half[1].Client().Port() != 2001 {
		t.Errorf("handshakes %v, want two from %s, ports 2000 and 2001", half, one)
	}
	if got := states(t, ns, server.Port()); got[synReceived] != 2 {
		t.Errorf("sockets by state: %v, want 2 in SYN_RECV (3)", got)
	}
}

// differ fails t when two handshakes have the same client.
func differ(t *testing.T, handshakes []*packets.Handshake) {
	t.Helper()

	seen := make(map[netip.AddrPort]bool)
	for _, h := range handshakes {
		if seen[h.Client()] {
			t.Fatalf("client %s twice", h.Client())
		}
		seen[h.Client()] = true
	}
}

func TestHandshakeCompletes(t *testing.T) {
	for _, version := range versions {
		t.Run(version.name, func(t *testing.T) {
			ns := netns.New(t)
			p := packets.NewPeer(t, ns)
			listener, server := listen(t, ns, version.server(p))

			h := begin(t, p, server)
			if err := h.ACK(); err != nil {
				t.Fatal(err)
			}
			conn := accept(t, listener)
			if got := conn.RemoteAddr().(*net.TCPAddr).AddrPort(); got != h.Client() {
				t.Errorf("accepted from %s, want %s", got, h.Client())
			}

			if err := h.RST(); err != nil {
				t.Fatal(err)
			}
			conn.SetDeadline(time.Now().Add(patience))
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("read after RST: %v, want %v", err, syscall.ECONNRESET)
			}
		})
	}
}

// All handshakes of a burst can be half done before the first is done.
func TestBurstByHand(t *testing.T) {
	const n = 256
	ns := netns.New(t)
	p := packets.NewPeer(t, ns)
	listener, server := listen(t, ns, p.Server4())

	burst, err := p.SYNs(server, n)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range burst {
		if err := h.SYNACK(patience); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range burst {
		if err := h.ACK(); err != nil {
			t.Fatal(err)
		}
	}
	if got := states(t, ns, server.Port()); got[synReceived] != 0 || got[established] != n {
		t.Errorf("sockets by state: %v, want none in SYN_RECV (3) and %d established (1)", got, n)
	}
	for range n {
		accept(t, listener)
	}
}

func TestHandshakeAborts(t *testing.T) {
	for _, version := range versions {
		t.Run(version.name, func(t *testing.T) {
			ns := netns.New(t)
			p := packets.NewPeer(t, ns)
			_, server := listen(t, ns, version.server(p))

			h := begin(t, p, server)
			if err := h.RST(); err != nil {
				t.Fatal(err)
			}
			if got := states(t, ns, server.Port()); len(got) != 1 || got[listening] != 1 {
				t.Errorf("sockets by state: %v, want the listener (10) alone", got)
			}
		})
	}
}

func TestHandshakeRefused(t *testing.T) {
	for _, version := range versions {
		t.Run(version.name, func(t *testing.T) {
			ns := netns.New(t)
			p := packets.NewPeer(t, ns)
			listener, server := listen(t, ns, version.server(p))
			listener.Close()

			half, err := p.SYNs(server, 1)
			if err != nil {
				t.Fatal(err)
			}
			if err := half[0].SYNACK(patience); !errors.Is(err, packets.ErrReset) {
				t.Errorf("SYN to a closed port: %v, want %v", err, packets.ErrReset)
			}
		})
	}
}

func TestHandshakeSilence(t *testing.T) {
	ns := netns.New(t)
	p := packets.NewPeer(t, ns)
	_, server := listen(t, ns, p.Server4())

	unsent := p.Handshake(netip.AddrPortFrom(p.Client(server.Addr(), 0), 2000), server)
	if err := unsent.SYNACK(time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("SYN-ACK without a SYN: %v, want %v", err, os.ErrDeadlineExceeded)
	}
	if err := unsent.AwaitRST(time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("RST without a SYN: %v, want %v", err, os.ErrDeadlineExceeded)
	}
}

// A listener that closes resets what waits in its queue.
func TestQueueIsReset(t *testing.T) {
	ns := netns.New(t)
	p := packets.NewPeer(t, ns)
	listener, server := listen(t, ns, p.Server4())

	h := begin(t, p, server)
	if err := h.ACK(); err != nil {
		t.Fatal(err)
	}
	listener.Close()
	if err := h.AwaitRST(patience); err != nil {
		t.Error(err)
	}
}

// Nothing is kept of a handshake under SYN cookies, and it completes even so.
func TestHandshakeWithSYNCookies(t *testing.T) {
	ns := netns.New(t)
	err := ns.Do(func() error {
		return os.WriteFile("/proc/sys/net/ipv4/tcp_syncookies", []byte("2"), 0)
	})
	if err != nil {
		t.Fatal(err)
	}
	p := packets.NewPeer(t, ns)
	listener, server := listen(t, ns, p.Server4())

	h := begin(t, p, server)
	if got := states(t, ns, server.Port()); got[synReceived] != 0 {
		t.Errorf("sockets by state: %v, want none in SYN_RECV (3)", got)
	}
	if err := h.ACK(); err != nil {
		t.Fatal(err)
	}
	accept(t, listener)
}

// listen opens an ordinary listener in ns; it ends with t.
func listen(t *testing.T, ns *netns.Namespace, addr netip.Addr) (*net.TCPListener, netip.AddrPort) {
	t.Helper()

	var listener *net.TCPListener
	err := ns.Do(func() (err error) {
		listener, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener, listener.Addr().(*net.TCPAddr).AddrPort()
}

// begin sends a SYN and waits for its answer.
func begin(t *testing.T, p *packets.Peer, server netip.AddrPort) *packets.Handshake {
	t.Helper()

	half, err := p.SYNs(server, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := half[0].SYNACK(patience); err != nil {
		t.Fatal(err)
	}
	return half[0]
}

func accept(t *testing.T, listener *net.TCPListener) net.Conn {
	t.Helper()

	listener.SetDeadline(time.Now().Add(patience))
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// echo answers each connection with what it gets, until t ends.
func echo(t *testing.T, listener net.Listener) {
	var mu sync.Mutex
	var open []net.Conn
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			running.Go(func() { io.Copy(conn, conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		mu.Lock()
		for _, conn := range open {
			conn.Close()
		}
		mu.Unlock()
		running.Wait()
	})
}
