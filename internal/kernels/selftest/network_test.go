package selftest

import (
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

func TestLoopback(t *testing.T) {
	inGuest(t)
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		check(t, err)
		t.Cleanup(func() { l.Close() })
		hello(t, l, func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) })
	}
}

// sock_diag needs inet_diag and tcp_diag, which are modules.
func TestSocketDiagnosis(t *testing.T) {
	inGuest(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	sockets, err := netlink.SocketDiagTCP(unix.AF_INET)
	check(t, err)
	for _, s := range sockets {
		if int(s.ID.SourcePort) == l.Addr().(*net.TCPAddr).Port {
			return
		}
	}
	t.Errorf("the listener is not among %d sockets", len(sockets))
}

func TestRawSockets(t *testing.T) {
	inGuest(t)
	for name, kind := range map[string][3]int{
		"ip":     {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW},
		"packet": {unix.AF_PACKET, unix.SOCK_RAW, unix.ETH_P_ALL},
	} {
		fd, err := unix.Socket(kind[0], kind[1], kind[2])
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		unix.Close(fd)
	}
}

// A connection from one network namespace to another, through a veth pair.
func TestVethBetweenNamespaces(t *testing.T) {
	inGuest(t)
	// The thread has left its namespace: it ends with the goroutine, never unlocked.
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		connectNamespaces(t)
	}()
	<-done
}

func connectNamespaces(t *testing.T) {
	const server, client = "10.99.0.1/24", "10.99.0.2/24"
	far, err := netns.NewNamed("selftest")
	if !ok(t, err) {
		return
	}
	defer netns.DeleteNamed("selftest")
	defer far.Close()
	near, err := netns.New()
	if !ok(t, err) {
		return
	}
	defer near.Close()

	pair := netlink.NewVeth(netlink.LinkAttrs{Name: "near"})
	pair.PeerName, pair.PeerNamespace = "far", netlink.NsFd(far)
	if !ok(t, netlink.LinkAdd(pair)) || !ok(t, addressed(near, "near", client)) || !ok(t, addressed(far, "far", server)) {
		return
	}
	if !ok(t, netns.Set(far)) {
		return
	}
	l, err := net.Listen("tcp4", "10.99.0.1:0")
	if !ok(t, err) || !ok(t, netns.Set(near)) {
		return
	}
	defer l.Close()
	hello(t, l, func() (net.Conn, error) { return net.DialTimeout("tcp4", l.Addr().String(), 20*time.Second) })
}

func addressed(ns netns.NsHandle, link, address string) error {
	// Without a family named, the handle wants XFRM's too, which cloud kernels
	// have as a module.
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	l, err := h.LinkByName(link)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(address)
	if err != nil {
		return err
	}
	if err := h.AddrAdd(l, a); err != nil {
		return err
	}
	return h.LinkSetUp(l)
}

// hello sends a word through the listener.
func hello(t *testing.T, l net.Listener, dial func() (net.Conn, error)) {
	t.Helper()
	go func() {
		if c, err := l.Accept(); err == nil {
			io.WriteString(c, "hello")
			c.Close()
		}
	}()
	c, err := dial()
	if !ok(t, err) {
		return
	}
	defer c.Close()
	if word, err := io.ReadAll(c); err != nil || string(word) != "hello" {
		t.Errorf("got %q, %v", word, err)
	}
}

// ok is check for goroutines that aren't the test's.
func ok(t *testing.T, err error) bool {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
	return err == nil
}
