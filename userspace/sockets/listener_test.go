package sockets

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/netns"
)

var background = context.Background()

func TestListenersOfEachKind(t *testing.T) {
	for _, c := range []struct {
		network, address string
		v6Only           bool
		listen           func(t testing.TB, network, address string, _ ...option) *net.TCPListener
	}{
		{"tcp4", "127.0.0.1:0", false, listen},
		{"tcp4", "0.0.0.0:0", false, listen},
		{"tcp6", "[::]:0", true, listen},
		{"tcp", "[::]:0", false, listen},
		{"tcp6", "[::1]:0", true, listen},
		{"tcp6", "[::ffff:127.0.0.1]:0", false, listenMapped},
	} {
		t.Run(c.network+" "+c.address, func(t *testing.T) {
			l := c.listen(t, c.network, c.address)
			got, described := only(t, addressOf(l)), describeOf(t, l)

			if want := netip.MustParseAddrPort(c.address).Addr(); got.Address.Addr() != want {
				t.Errorf("address %s, want %s", got.Address, want)
			}
			if got.V6Only != c.v6Only {
				t.Errorf("V6Only %v, want %v", got.V6Only, c.v6Only)
			}
			if got.UID != uint32(os.Getuid()) || got.MaxBacklog == 0 || got.Backlog != 0 || got.MPTCP {
				t.Errorf("listener %+v", got)
			}
			got.Cgroup = 0
			if described.Listener != got {
				t.Errorf("by descriptor %+v\nby sock_diag  %+v", described.Listener, got)
			}
		})
	}
}

// listenMapped listens on an IPv4 address with an IPv6 socket, as Java does.
// The net package would make an IPv4 socket.
func listenMapped(t testing.TB, _, address string, _ ...option) *net.TCPListener {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "mapped")
	defer file.Close()
	local := &unix.SockaddrInet6{Addr: netip.MustParseAddrPort(address).Addr().As16()}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, local); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 10); err != nil {
		t.Fatal(err)
	}
	l, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

// TestWildcards puts a listener of each kind on one port and asks for each.
func TestWildcards(t *testing.T) {
	ns := netns.New(t)
	err := ns.Do(func() error {
		v4 := describeOf(t, listen(t, "tcp4", "0.0.0.0:80"))
		v6 := describeOf(t, listen(t, "tcp6", "[::]:80"))
		dual := describeOf(t, listen(t, "tcp", "[::]:81"))
		describeOf(t, listen(t, "tcp4", "127.0.0.1:82"))

		for _, c := range []struct {
			address string
			want    []uint64
		}{
			{":80", []uint64{v4.Cookie, v6.Cookie}},
			{"0.0.0.0:80", []uint64{v4.Cookie}},
			{"[::]:80", []uint64{v6.Cookie}},
			{":81", []uint64{dual.Cookie}},
			{"0.0.0.0:81", nil},
			{":82", nil},
			{":83", nil},
		} {
			a, err := ParseAddress(c.address)
			if err != nil {
				return err
			}
			found, err := Listeners(a)
			if err != nil {
				return err
			}
			if got := cookies(found); fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("%s: cookies %d, want %d", a, got, c.want)
			}
		}

		all, err := Listeners(Address{})
		if err != nil || len(all) != 4 {
			t.Errorf("in all %d listeners, %v, want 4", len(all), err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func cookies(listeners []Listener) []uint64 {
	var cookies []uint64
	for _, l := range listeners {
		cookies = append(cookies, l.Cookie)
	}
	return cookies
}

func TestReusePortGroupOfSeveralProcesses(t *testing.T) {
	const workers = 3
	ns := netns.New(t)
	err := ns.Do(func() error {
		want := make(map[int]bool)
		for range workers {
			want[start(t, "listen", []string{"127.0.0.1:80"}).pid()] = true
		}
		listeners, err := Listeners(Address{Host: netip.MustParseAddr("127.0.0.1"), Port: 80})
		if err != nil {
			return err
		}
		if len(listeners) != workers {
			t.Fatalf("%d listeners, want %d", len(listeners), workers)
		}

		holders, err := Holders(inodesOf(listeners))
		if err != nil {
			return err
		}
		for _, l := range listeners {
			if l.Group() != listeners[0].Group() {
				t.Errorf("groups %+v and %+v", l.Group(), listeners[0].Group())
			}
			server := Server(holders[l.Inode])
			if !want[server.PID] || !server.PollsIt || len(holders[l.Inode]) != 1 {
				t.Errorf("%d is held by %+v", l.Inode, holders[l.Inode])
			}
			delete(want, server.PID) // each serves one
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func inodesOf(listeners []Listener) []uint32 {
	var inodes []uint32
	for _, l := range listeners {
		inodes = append(inodes, l.Inode)
	}
	return inodes
}

func TestMPTCPListener(t *testing.T) {
	if fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP); err != nil {
		t.Skipf("needs a kernel with CONFIG_MPTCP: %v", err)
	} else {
		unix.Close(fd)
	}
	ns := netns.New(t) // naming them takes CAP_NET_ADMIN on older kernels
	err := ns.Do(func() error {
		config := listenConfig(reusePort)
		config.SetMultipathTCP(true)
		for _, address := range []string{"127.0.0.1:80", "[::]:80"} {
			l := listenWith(t, config, "tcp", address)
			got, described := only(t, addressOf(l)), describeOf(t, l)
			if !got.MPTCP || !described.MPTCP {
				t.Errorf("%s: MPTCP by sock_diag %v, by descriptor %v", address, got.MPTCP, described.MPTCP)
			}
			if got.Inode != described.Inode || got.Address != described.Address || got.V6Only != described.V6Only ||
				got.MaxBacklog != described.MaxBacklog || !described.Listening || !described.ReusePort {
				t.Errorf("by descriptor %+v\nby sock_diag  %+v", described, got)
			}

			holders, err := Holders([]uint32{got.Inode})
			if err != nil || len(holders[got.Inode]) != 1 {
				t.Fatalf("holders %+v, %v", holders, err)
			}
			fetched, err := got.Fetch(Server(holders[got.Inode]))
			if err != nil {
				t.Fatal(err)
			}
			fetched.Close()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestBacklog(t *testing.T) {
	l := listen(t, "tcp4", "127.0.0.1:0")
	const waiting = 7
	for range waiting {
		dial(t, "tcp4", l.Addr())
	}
	eventually(t, "the backlog", func() bool { return only(t, addressOf(l)).Backlog == waiting })
	if d := describeOf(t, l); d.Backlog != waiting || d.MaxBacklog != only(t, addressOf(l)).MaxBacklog {
		t.Errorf("by descriptor %d of %d", d.Backlog, d.MaxBacklog)
	}

	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := only(t, addressOf(l)).Backlog; got != waiting-1 {
		t.Errorf("after an accept %d wait, want %d", got, waiting-1)
	}
}

func TestListenerBoundToADevice(t *testing.T) {
	ns := netns.New(t)
	err := ns.Do(func() error {
		l := listen(t, "tcp4", "127.0.0.1:80", func(fd int) error { return unix.BindToDevice(fd, "lo") })
		if got, d := only(t, addressOf(l)), describeOf(t, l); got.Interface != 1 || d.Interface != 1 {
			t.Errorf("bound to device %d, by descriptor %d, want 1", got.Interface, d.Interface)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAccepts(t *testing.T) {
	for _, c := range []struct {
		listener, connection string
		v6Only, want         bool
	}{
		{"0.0.0.0:80", "10.0.0.1:80", false, true},
		{"0.0.0.0:80", "10.0.0.1:81", false, false},
		{"0.0.0.0:80", "[::ffff:10.0.0.1]:80", false, false},
		{"10.0.0.1:80", "10.0.0.1:80", false, true},
		{"10.0.0.1:80", "10.0.0.2:80", false, false},
		{"[::]:80", "[::ffff:10.0.0.1]:80", false, true},
		{"[::]:80", "[::ffff:10.0.0.1]:80", true, false},
		{"[::]:80", "[::1]:80", true, true},
		{"[::]:80", "10.0.0.1:80", false, false},
		{"[::ffff:0.0.0.0]:80", "[::ffff:10.0.0.1]:80", false, true},
		{"[::ffff:0.0.0.0]:80", "[::1]:80", false, false},
		{"[::ffff:10.0.0.1]:80", "[::ffff:10.0.0.1]:80", false, true},
		{"[::1]:80", "[::1]:80", true, true},
	} {
		l := Listener{Address: netip.MustParseAddrPort(c.listener), V6Only: c.v6Only}
		if got := l.Accepts(Connection{Local: netip.MustParseAddrPort(c.connection)}); got != c.want {
			t.Errorf("%s (v6 only: %v) accepts %s: %v", c.listener, c.v6Only, c.connection, got)
		}
	}
}

func TestCgroupOfAListener(t *testing.T) {
	directory := cgroupDirectory(t)
	var stat unix.Stat_t
	if err := unix.Stat(directory, &stat); err != nil {
		t.Fatal(err)
	}
	if got := only(t, addressOf(listen(t, "tcp4", "127.0.0.1:0"))).Cgroup; got != stat.Ino {
		t.Errorf("made in cgroup %d, want %d, which is %s", got, stat.Ino, directory)
	}
}

// cgroupDirectory returns the cgroup v2 of this process.
func cgroupDirectory(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	_, path, _ := strings.Cut("\n"+string(groups), "\n0::")
	path, _, _ = strings.Cut(path, "\n")
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[2] == "cgroup2" {
			return filepath.Join(fields[1], path)
		}
	}
	t.Skip("needs cgroup v2: no such filesystem is mounted")
	return ""
}
