package sockets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/internal/netns"
)

// families are the kinds of listeners, and how a client of each connects.
var families = []struct{ name, network, address, client, target string }{
	{"v4", "tcp4", "127.0.0.1:80", "tcp4", "127.0.0.1:80"},
	{"v6", "tcp6", "[::1]:80", "tcp6", "[::1]:80"},
	{"dual", "tcp", "[::]:80", "tcp6", "[::1]:80"},
	{"dual from v4", "tcp", "[::]:80", "tcp4", "127.0.0.1:80"},
}

func TestRescueMovesTheQueue(t *testing.T) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			inMigratingNamespace(t, func() {
				one, other := pairOf(t, f.network, f.address)
				clients := fill(t, one, f.client, f.target, 20)

				rescueOf(t, one)
				wantBacklogs(t, one, 0, other, len(clients))
				serveQueue(t, other, len(clients))
				for _, c := range clients {
					wantEcho(t, c)
				}
				// It is one of the group as before.
				fill(t, one, f.client, f.target, 3)
			})
		})
	}
}

// TestRescueOfClientsThatLeft has some that closed, and some that reset.
func TestRescueOfClientsThatLeft(t *testing.T) {
	inMigratingNamespace(t, func() {
		one, other := pairOf(t, "tcp4", "127.0.0.1:80")
		clients := fill(t, one, "tcp4", "127.0.0.1:80", 20)
		closed := make(map[string]bool)
		for i, c := range clients {
			switch i % 3 {
			case 1:
				closed[c.LocalAddr().String()] = true
				_, _ = c.Write([]byte("sent before"))
				c.Close()
			case 2:
				_ = c.SetLinger(0)
				c.Close()
			}
		}
		rescueOf(t, one)
		wantBacklogs(t, one, 0, other, len(clients))
		texts := 0
		for _, c := range acceptAll(t, other, len(clients)) {
			if !closed[c.RemoteAddr().String()] {
				continue
			}
			text := make([]byte, 20)
			_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
			n, err := c.Read(text)
			if string(text[:n]) != "sent before" {
				t.Errorf("read %q of a client that closed, %v", text[:n], err)
			}
			texts++
		}
		if texts != len(closed) {
			t.Errorf("%d of %d clients that closed were accepted", texts, len(closed))
		}
	})
}

// TestServersGoOnAfterRescue stops a server, rescues its queue and lets it go on.
func TestServersGoOnAfterRescue(t *testing.T) {
	for _, way := range []string{"accept", "epoll", "edge", "poll", "go"} {
		for _, f := range families[:3] {
			t.Run(way+" "+f.name, func(t *testing.T) {
				inMigratingNamespace(t, func() { goesOn(t, way, f.network, f.address, f.client, f.target) })
			})
		}
	}
}

func goesOn(t *testing.T, way, network, address, client, target string) {
	one, other := pairOf(t, network, address)
	server := start(t, "serve", []string{way}, fileOf(t, one))

	accepted := connectBeside(t, other, client, target)
	for range 3 { // a worker may hang again
		stop(t, server)
		waiting := fill(t, one, client, target, 5)
		rescueOf(t, one)
		wantBacklogs(t, one, 0, other, len(waiting))
		serveQueue(t, other, len(waiting))
		for _, c := range waiting {
			wantEcho(t, c)
		}
		proceed(t, server)
		wantEcho(t, accepted)
		wantEcho(t, connectBeside(t, other, client, target))
	}
}

// TestRescueBesideAcceptThatRuns rescues where nothing hangs. The servers try
// again after EINVAL, which Rescue says that they may get.
func TestRescueBesideAcceptThatRuns(t *testing.T) {
	for _, way := range []string{"accept", "epoll", "edge", "poll"} {
		t.Run(way, func(t *testing.T) {
			inMigratingNamespace(t, func() {
				one, other := pairOf(t, "tcp4", "127.0.0.1:80")
				start(t, "serve", []string{way}, fileOf(t, one))
				for range 100 {
					rescueOf(t, one)
				}
				wantEcho(t, connectBeside(t, other, "tcp4", "127.0.0.1:80"))
			})
		})
	}
}

// TestRescueOfFrozenServers rescues where nothing hangs, but stands still
// meanwhile: then no server sees anything of it.
func TestRescueOfFrozenServers(t *testing.T) {
	for _, way := range []string{"accept", "epoll", "edge", "poll", "go"} {
		t.Run(way, func(t *testing.T) {
			inMigratingNamespace(t, func() {
				one, other := pairOf(t, "tcp4", "127.0.0.1:80")
				leaf := leafOf(t, start(t, "serve", []string{way, "strict"}, fileOf(t, one)))
				rescued := 0
				for i := range 50 {
					err := leaf.Frozen(t.Context(), func() error {
						if standsStill(t, leaf) {
							rescueOf(t, one)
							rescued++
						}
						return nil
					})
					if err != nil {
						t.Fatal(err)
					}
					if i%10 == 0 {
						wantEcho(t, connectBeside(t, other, "tcp4", "127.0.0.1:80"))
					}
				}
				if rescued < 10 {
					t.Errorf("the server stood still %d times of 50", rescued)
				}
			})
		})
	}
}

// standsStill tells whether a leaf is frozen: Frozen goes on without it where a
// process doesn't get to run for long.
func standsStill(t *testing.T, leaf *cgroup.Leaf) bool {
	t.Helper()
	events, err := os.ReadFile(filepath.Join(leaf.Path(), "cgroup.events"))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(events, []byte("frozen 1"))
}

// leafOf moves a child into a leaf of its own.
func leafOf(t *testing.T, c *child) *cgroup.Leaf {
	t.Helper()
	mount, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	tree, err := mount.Create(fmt.Sprintf("sockets-test-%d", c.pid()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.end()
		if err := errors.Join(tree.WaitEmpty(context.Background()), tree.Remove(), tree.Close()); err != nil {
			t.Error(err)
		}
	})
	leaf, err := tree.Leaf("0")
	if err != nil {
		t.Fatal(err)
	}
	pid := strconv.Itoa(c.pid())
	if err := os.WriteFile(filepath.Join(leaf.Path(), "cgroup.procs"), []byte(pid), 0); err != nil {
		t.Fatal(err)
	}
	return leaf
}

// A handshake under way stays with the listener, as Rescue says.
func TestRescueLeavesHandshakes(t *testing.T) {
	inMigratingNamespace(t, func() {
		one, other := pairOf(t, "tcp4", "127.0.0.1:80", deferAccept)
		// The queue has those who sent something.
		var silent []*net.TCPConn
		for range 20 {
			silent = append(silent, dial(t, "tcp4", one.Addr()))
		}
		time.Sleep(10 * time.Millisecond)
		wantBacklogs(t, one, 0, other, 0)
		talking := 0
		for backlogOf(t, one) < 5 {
			_, err := dial(t, "tcp4", one.Addr()).Write([]byte("x"))
			if err != nil {
				t.Fatal(err)
			}
			talking++
			eventually(t, "the data", func() bool { return backlogOf(t, one)+backlogOf(t, other) == talking })
		}
		rescueOf(t, one)
		wantBacklogs(t, one, 0, other, talking)

		for _, c := range silent {
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "the late data", func() bool { return backlogOf(t, one)+backlogOf(t, other) == talking+len(silent) })
		if backlogOf(t, one) == 0 {
			t.Error("no handshake ended at the rescued listener: if the kernel moves them now, correct the comment at Rescue")
		}
		rescueOf(t, one)
		wantBacklogs(t, one, 0, other, talking+len(silent))
	})
}

func TestRescueKeepsOptions(t *testing.T) {
	options := []struct {
		name                 string
		level, option, value int
	}{
		{"SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1},
		{"SO_REUSEPORT", unix.SOL_SOCKET, unix.SO_REUSEPORT, 1},
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{"SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF, 70000},
		{"SO_SNDBUF", unix.SOL_SOCKET, unix.SO_SNDBUF, 90000},
		{"SO_PRIORITY", unix.SOL_SOCKET, unix.SO_PRIORITY, 3},
		{"SO_MARK", unix.SOL_SOCKET, unix.SO_MARK, 7},
		{"SO_BUSY_POLL", unix.SOL_SOCKET, unix.SO_BUSY_POLL, 50},
		{"SO_INCOMING_CPU", unix.SOL_SOCKET, unix.SO_INCOMING_CPU, 1},
		{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 11},
		{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 12},
		{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 4},
		{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 12345},
		{"TCP_DEFER_ACCEPT", unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 7},
		{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{"TCP_QUICKACK", unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0},
		{"TCP_FASTOPEN", unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 16},
		{"TCP_MAXSEG", unix.IPPROTO_TCP, unix.TCP_MAXSEG, 1000},
		{"TCP_LINGER2", unix.IPPROTO_TCP, unix.TCP_LINGER2, 9},
		{"TCP_SYNCNT", unix.IPPROTO_TCP, unix.TCP_SYNCNT, 3},
		{"TCP_SAVE_SYN", unix.IPPROTO_TCP, unix.TCP_SAVE_SYN, 1},
		{"TCP_NOTSENT_LOWAT", unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, 16384},
		{"IPV6_V6ONLY", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1},
		{"IPV6_TCLASS", unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 0x20},
		{"IPV6_UNICAST_HOPS", unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, 33},
		{"TCP_WINDOW_CLAMP", unix.IPPROTO_TCP, unix.TCP_WINDOW_CLAMP, 60000},
	}
	inMigratingNamespace(t, func() {
		set := func(fd int) error {
			for _, o := range options {
				if err := unix.SetsockoptInt(fd, o.level, o.option, o.value); err != nil {
					return fmt.Errorf("%s: %w", o.name, err)
				}
			}
			return nil
		}
		l := listen(t, "tcp6", "[::]:80", set)
		read := func() (values []int) {
			withFD(t, l, func(fd int) {
				for _, o := range options {
					value, err := unix.GetsockoptInt(fd, o.level, o.option)
					if err != nil {
						t.Fatalf("%s: %v", o.name, err)
					}
					values = append(values, value)
				}
			})
			return values
		}
		before, described := read(), describeOf(t, l)
		rescueOf(t, l)
		if after := describeOf(t, l); after != described {
			t.Errorf("described as %+v\nbefore       %+v", after, described)
		}
		for i, value := range read() {
			if value != before[i] {
				t.Errorf("%s was %d and is %d", options[i].name, before[i], value)
			}
		}
	})
}

// TestRescueKeepsThePort is about a port that the kernel chose.
func TestRescueKeepsThePort(t *testing.T) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			inMigratingNamespace(t, func() {
				one := listen(t, f.network, portZero(f.address), reusePort)
				before := describeOf(t, one)
				other := listen(t, f.network, before.Address.String(), reusePort)
				target := netip.AddrPortFrom(netip.MustParseAddrPort(f.target).Addr(), before.Address.Port()).String()

				clients := fill(t, one, f.client, target, 5)
				rescueOf(t, one)
				wantBacklogs(t, one, 0, other, len(clients))
				if after := describeOf(t, one); after.Address != before.Address || after.Cookie != before.Cookie || !after.Listening {
					t.Errorf("the listener is %+v, was %+v", after, before)
				}
				fill(t, one, f.client, target, 2)
			})
		})
	}
}

func portZero(address string) string {
	return netip.AddrPortFrom(netip.MustParseAddrPort(address).Addr(), 0).String()
}

func TestRescueRefuses(t *testing.T) {
	alone := listen(t, "tcp4", "127.0.0.1:0")
	client := dial(t, "tcp4", alone.Addr())
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()

	withFD(t, alone, func(fd int) {
		if err := Rescue(fd, 10); !errors.Is(err, ErrNoGroup) {
			t.Errorf("a listener without a group: %v", err)
		}
	})
	withFD(t, client, func(fd int) {
		if err := Rescue(fd, 10); !errors.Is(err, ErrNotListening) {
			t.Errorf("a connection: %v", err)
		}
	})
	if err := Rescue(int(null.Fd()), 10); !errors.Is(err, ErrNotTCP) {
		t.Errorf("no socket: %v", err)
	}
	eventually(t, "the client", func() bool { return backlogOf(t, alone) == 1 })
}

// inMigratingNamespace runs f in a namespace where the kernel migrates queues.
func inMigratingNamespace(t *testing.T, f func()) {
	t.Helper()
	err := migratingNamespace(t).Do(func() error {
		f()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// migratingNamespace is one whose kernel migrates by itself.
func migratingNamespace(t testing.TB) *netns.Namespace {
	t.Helper()
	ns := netns.New(t)
	err := ns.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/tcp_migrate_req", []byte("1"), 0) })
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

// pairOf makes two listeners of one group.
func pairOf(t *testing.T, network, address string, options ...option) (one, other *net.TCPListener) {
	t.Helper()
	options = append(options, reusePort)
	return listen(t, network, address, options...), listen(t, network, address, options...)
}

func rescueOf(t *testing.T, l *net.TCPListener) {
	t.Helper()
	withFD(t, l, func(fd int) {
		if err := Rescue(fd, describeOf(t, l).MaxBacklog); err != nil {
			t.Fatal(err)
		}
	})
}

func backlogOf(t *testing.T, l *net.TCPListener) int { return int(describeOf(t, l).Backlog) }

// fill connects clients, wherever the kernel puts them, until n more of them
// wait at l, and returns all.
func fill(t *testing.T, l *net.TCPListener, network, target string, n int) []*net.TCPConn {
	t.Helper()
	var clients []*net.TCPConn
	for most := 200; backlogOf(t, l) < n; most-- {
		if most == 0 {
			t.Fatalf("%d of %d wait at the listener", backlogOf(t, l), n)
		}
		clients = append(clients, connect(t, network, target))
	}
	return clients
}

func connect(t *testing.T, network, target string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial(network, target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// connectBeside returns a connection that was answered, by somebody else than
// other, which this process has.
func connectBeside(t *testing.T, other *net.TCPListener, network, target string) *net.TCPConn {
	t.Helper()
	for range 200 {
		c := connect(t, network, target)
		mine := false
		eventually(t, "an answer", func() bool {
			if mine = backlogOf(t, other) == 1; mine {
				return true
			}
			return echoes(c, 20*time.Millisecond)
		})
		if !mine {
			return c
		}
		for _, c := range acceptAll(t, other, 1) {
			c.Close()
		}
	}
	t.Fatal("all connections went elsewhere")
	return nil
}

// wantBacklogs waits: the last step of a handshake may not be through.
func wantBacklogs(t *testing.T, one *net.TCPListener, atOne int, other *net.TCPListener, atOther int) {
	t.Helper()
	eventually(t, fmt.Sprintf("backlogs of %d and %d", atOne, atOther), func() bool {
		return backlogOf(t, one) == atOne && backlogOf(t, other) == atOther
	})
}

func acceptAll(t *testing.T, l *net.TCPListener, n int) (accepted []*net.TCPConn) {
	t.Helper()
	for range n {
		if err := l.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		c, err := l.AcceptTCP()
		if err != nil {
			t.Fatalf("accept %d of %d: %v", len(accepted), n, err)
		}
		t.Cleanup(func() { c.Close() })
		accepted = append(accepted, c)
	}
	return accepted
}

// serveQueue accepts n connections and sends back what comes on them.
func serveQueue(t *testing.T, l *net.TCPListener, n int) {
	t.Helper()
	var echoing sync.WaitGroup
	t.Cleanup(echoing.Wait) // after the connections are closed
	for _, c := range acceptAll(t, l, n) {
		echoing.Go(func() { echo(c) })
	}
}

func echo(c net.Conn) {
	defer c.Close()
	_, _ = io.Copy(c, c)
}

func wantEcho(t *testing.T, c *net.TCPConn) {
	t.Helper()
	if !echoes(c, 20*time.Second) {
		t.Fatalf("%s got no answer", c.LocalAddr())
	}
}

// echoes asks for one answer and waits for it no longer than patience.
func echoes(c *net.TCPConn, patience time.Duration) bool {
	if _, err := c.Write([]byte("x")); err != nil {
		return false
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	n, _ := c.Read(make([]byte, 1))
	return n == 1
}

// stop stops a child and returns when all its threads stand.
func stop(t *testing.T, c *child) {
	t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stop", func() bool {
		states, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", c.pid()))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range states {
			text, err := os.ReadFile(path)
			if err == nil && !bytes.Contains(text, []byte(") T ")) {
				return false
			}
		}
		return true
	})
}

func proceed(t *testing.T, c *child) {
	t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}
