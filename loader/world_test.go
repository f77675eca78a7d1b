package loader

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/sockdist/sockdist/internal/privilege"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// testNumber makes names unique within a run.
var testNumber atomic.Int64

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newHost is a pin folder of the test's own, which must be gone when the test ends.
func newHost(t testing.TB) *Host {
	t.Helper()
	privilege.Require(t)
	mount, err := pinFolder("")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(filepath.Dir(mount), fmt.Sprintf("sockdist-test-%d-%d", os.Getpid(), testNumber.Add(1)))
	h, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Remove(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("pins left in %s", dir)
			os.RemoveAll(dir)
		}
	})
	return h
}

// listen makes n listeners that share an address, without MPTCP.
func listen(t testing.TB, address string, n int) []*net.TCPListener {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
	}}
	config.SetMultipathTCP(false)
	listeners := make([]*net.TCPListener, n)
	for i := range listeners {
		l, err := config.Listen(context.Background(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		listeners[i] = l.(*net.TCPListener)
		address = l.Addr().String()
	}
	return listeners
}

func fdOf(t testing.TB, l *net.TCPListener) int {
	t.Helper()
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	fd := -1
	if err := raw.Control(func(f uintptr) { fd = int(f) }); err != nil {
		t.Fatal(err)
	}
	return fd
}

// steered is a group over the listeners: listener i has slot i.
func steered(t testing.TB, h *Host, policy Policy, listeners []*net.TCPListener) *Group {
	t.Helper()
	address := listeners[0].Addr().(*net.TCPAddr).AddrPort()
	g, err := h.CreateGroup(GroupSpec{Name: fmt.Sprintf("t%d", testNumber.Add(1)), Address: address, Policy: policy})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Destroy(); err != nil {
			t.Error(err)
		}
		g.Close()
	})
	for i, l := range listeners {
		if _, err := g.Add(i, Listener{FD: fdOf(t, l), PID: os.Getpid()}); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Steer(fdOf(t, listeners[0])); err != nil {
		t.Fatal(err)
	}
	return g
}

func addressOf(l *net.TCPListener) netip.AddrPort { return l.Addr().(*net.TCPAddr).AddrPort() }
