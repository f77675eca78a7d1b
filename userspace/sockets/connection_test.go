package sockets

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/netns"
)

// peer finds the server's side of a connection among those of an address.
func peer(t testing.TB, connections []Connection, client net.Conn) (Connection, bool) {
	t.Helper()
	want := client.LocalAddr().(*net.TCPAddr).AddrPort()
	for _, c := range connections {
		if c.Remote.Port() == want.Port() && c.Remote.Addr().Unmap() == want.Addr().Unmap() {
			return c, true
		}
	}
	return Connection{}, false
}

// serverSide returns the server's side of a connection.
func serverSide(t testing.TB, l net.Listener, client net.Conn) (Connection, bool) {
	t.Helper()
	all, err := Connections(addressOf(l))
	if err != nil {
		t.Fatal(err)
	}
	return peer(t, all, client)
}

func TestQueuedAndAccepted(t *testing.T) {
	for _, c := range []struct{ network, listen, dial string }{
		{"tcp4", "127.0.0.1:0", "tcp4"},
		{"tcp6", "[::1]:0", "tcp6"},
		{"tcp", "[::]:0", "tcp4"}, // addresses like ::ffff:127.0.0.1
		{"tcp", "[::]:0", "tcp6"},
	} {
		t.Run(c.listen+" by "+c.dial, func(t *testing.T) {
			l := listen(t, c.network, c.listen)
			to := &net.TCPAddr{Port: l.Addr().(*net.TCPAddr).Port, IP: net.IPv4(127, 0, 0, 1)}
			if c.dial == "tcp6" {
				to.IP = net.IPv6loopback
			}
			client := dial(t, c.dial, to)

			var queued Connection
			eventually(t, "the connection in the queue", func() (found bool) {
				queued, found = serverSide(t, l, client)
				return found && queued.State == Established
			})
			if !queued.Queued() || queued.Inode != 0 || queued.Cookie == 0 {
				t.Errorf("in the queue: %+v", queued)
			}
			if !only(t, addressOf(l)).Accepts(queued) {
				t.Errorf("the listener wouldn't have accepted %+v", queued)
			}

			server, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			accepted, _ := serverSide(t, l, client)
			described := describeOf(t, server.(*net.TCPConn))
			if accepted.Queued() || accepted.Inode != described.Inode || accepted.Cookie != queued.Cookie || accepted.Cookie != described.Cookie {
				t.Errorf("accepted: %+v, by descriptor %+v", accepted, described)
			}
			if described.Listening {
				t.Error("a connection listens")
			}
		})
	}
}

func TestQueuedAfterThePeerLeft(t *testing.T) {
	l := listen(t, "tcp4", "127.0.0.1:0")
	client := dial(t, "tcp4", l.Addr())
	client.Close()
	eventually(t, "the half-closed connection", func() bool {
		all, err := Connections(addressOf(l))
		if err != nil {
			t.Fatal(err)
		}
		return len(all) == 1 && all[0].State == CloseWait && all[0].Queued()
	})
}

func TestOrphanIsNotQueued(t *testing.T) {
	l := listen(t, "tcp4", "127.0.0.1:0")
	client := dial(t, "tcp4", l.Addr())
	if err := client.SetReadBuffer(1 << 12); err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	// More than the client's window, so that the end can't get through.
	withFD(t, server.(*net.TCPConn), func(fd int) {
		chunk := make([]byte, 1<<16)
		for err == nil {
			_, err = unix.SendmsgN(fd, chunk, nil, nil, unix.MSG_DONTWAIT)
		}
	})
	server.Close()

	orphan, found := serverSide(t, l, client)
	if !found || orphan.State != FinWait1 || orphan.Inode != 0 || orphan.Queued() {
		t.Errorf("closed by its process: %+v", orphan)
	}
}

// TestRemnants tells a socket that is half closed from what is left of one that
// is closed: the kernel says FIN-WAIT-2 of both.
func TestRemnants(t *testing.T) {
	l := listen(t, "tcp4", "127.0.0.1:0")
	halfClosed, closed := dial(t, "tcp4", l.Addr()), dial(t, "tcp4", l.Addr())
	for range 2 {
		server, err := l.AcceptTCP()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		if server.RemoteAddr().String() == closed.LocalAddr().String() {
			server.Close()
		} else if err := server.CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}

	eventually(t, "FIN-WAIT-2", func() bool {
		c, found := serverSide(t, l, halfClosed)
		return found && c.State == FinWait2 && c.Inode != 0
	})
	eventually(t, "the remnant", func() bool {
		remnants, err := ConnectionsIn(addressOf(l), TimeWait)
		if err != nil {
			t.Fatal(err)
		}
		c, found := peer(t, remnants, closed)
		return found && len(remnants) == 1 && c.State == TimeWait
	})
	if c, found := serverSide(t, l, closed); found {
		t.Errorf("the remnant is a connection: %+v", c)
	}
}

func TestHalfOpen(t *testing.T) {
	l := listen(t, "tcp4", "127.0.0.1:0", deferAccept)
	client := dial(t, "tcp4", l.Addr())
	c, found := serverSide(t, l, client)
	if !found || c.State != SynReceived || c.Queued() || c.Inode != 0 {
		t.Errorf("half open: %+v", c)
	}

	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the whole handshake", func() bool {
		c, _ := serverSide(t, l, client)
		return c.State == Established && c.Queued()
	})
}

func TestConnectionsOfAnAddress(t *testing.T) {
	ns := netns.New(t)
	err := ns.Do(func() error {
		v4, v6 := listen(t, "tcp4", "0.0.0.0:80"), listen(t, "tcp6", "[::]:80")
		dual := listen(t, "tcp", "[::]:81")
		for _, to := range []string{"127.0.0.1:80", "127.0.0.2:80", "[::1]:80", "127.0.0.1:81", "[::1]:81"} {
			dial(t, "tcp", net.TCPAddrFromAddrPort(netip.MustParseAddrPort(to)))
		}
		for _, l := range []net.Listener{v4, v4, v6, dual, dual} {
			c, err := l.Accept()
			if err != nil {
				return err
			}
			defer c.Close()
		}

		for text, want := range map[string]int{
			":80": 3, "0.0.0.0:80": 2, "[::]:80": 1, "127.0.0.1:80": 1, "[::1]:80": 1, "127.0.0.3:80": 0,
			":81": 2, "0.0.0.0:81": 0, "[::]:81": 2, "127.0.0.1:81": 1,
		} {
			a, err := ParseAddress(text)
			if err != nil {
				return err
			}
			found, err := Connections(a)
			if err != nil {
				return err
			}
			if len(found) != want {
				t.Errorf("%s has %d connections, want %d: %+v", text, len(found), want, found)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestManyConnections needs an answer of the kernel in several parts.
func TestManyConnections(t *testing.T) {
	const count = 2000
	if limit := descriptorLimit(t); limit < 3*count {
		t.Skipf("needs %d descriptors, ulimit -n says %d", 3*count, limit)
	}
	l := listen(t, "tcp4", "127.0.0.1:0")
	for range count {
		dial(t, "tcp4", l.Addr())
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
	}
	found, err := ConnectionsIn(addressOf(l), Established)
	if err != nil || len(found) != count {
		t.Fatalf("%d connections, %v, want %d", len(found), err, count)
	}

	inodes := make([]uint32, 0, count)
	for _, c := range found {
		inodes = append(inodes, c.Inode)
	}
	holders, err := Holders(inodes)
	if err != nil || len(holders) != count {
		t.Errorf("the holders of %d connections are known, %v, want %d", len(holders), err, count)
	}
}

func descriptorLimit(t *testing.T) uint64 {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return limit.Cur
}
