package loader

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/internal/netns"
)

// A binder is a process in a leaf of an app's cgroup that does with sockets what
// it is told. It ends with its input.
type binder struct {
	t    testing.TB
	leaf *cgroup.Leaf
	pid  int
	in   io.WriteCloser
	out  *bufio.Scanner
}

func init() { children["binder"] = obeyBinder }

// obeyBinder answers every line "VERB NUMBER ADDRESS" by "VALUE ERRNO".
func obeyBinder([]string) error {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var verb, address string
		var number int
		if _, err := fmt.Sscan(in.Text(), &verb, &number, &address); err != nil {
			return fmt.Errorf("%q: %w", in.Text(), err)
		}
		value, err := obey(verb, number, netip.MustParseAddrPort(address))
		var code syscall.Errno
		if err != nil && !errors.As(err, &code) {
			return err
		}
		fmt.Println(value, uint(code))
	}
	return in.Err()
}

func obey(verb string, number int, address netip.AddrPort) (value uint64, err error) {
	v6 := []socketOption{{unix.SOL_IPV6, unix.IPV6_V6ONLY, number}}
	if address.Addr().Is4() {
		v6 = nil
	}
	var fd int
	switch verb {
	case "bind": // number: V6ONLY
		fd, err = bound(address, unix.IPPROTO_TCP, v6...)
	case "bind-shared":
		fd, err = bound(address, unix.IPPROTO_TCP, append(v6, reusePort)...)
	case "bind-udp":
		if fd, err = unix.Socket(familyOf(address.Addr()), unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err == nil {
			err = unix.Bind(fd, sockaddr(address))
		}
	case "listen": // number: descriptor, as below
		err = unix.Listen(number, 64)
	case "connect":
		if err = unix.Connect(number, sockaddr(address)); err == unix.EINPROGRESS {
			err = connected(number)
		}
	case "close":
		err = unix.Close(number)
	case "cookie":
		return unix.GetsockoptUint64(number, unix.SOL_SOCKET, unix.SO_COOKIE)
	case "shared":
		fd, err = unix.GetsockoptInt(number, unix.SOL_SOCKET, unix.SO_REUSEPORT)
	}
	return uint64(max(fd, 0)), err
}

func (b *binder) ask(verb string, number int, address netip.AddrPort) (int, error) {
	b.t.Helper()
	if _, err := fmt.Fprintln(b.in, verb, number, address); err != nil {
		b.t.Fatal(err)
	}
	var value uint64
	var code uint
	if !b.out.Scan() {
		b.t.Fatalf("binder %d ended: %v", b.pid, b.out.Err())
	}
	if _, err := fmt.Sscan(b.out.Text(), &value, &code); err != nil {
		b.t.Fatal(err)
	}
	if code != 0 {
		return 0, syscall.Errno(code)
	}
	return int(value), nil
}

var nowhere = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)

// do is ask where failing is a fault.
func (b *binder) do(verb string, number int, address netip.AddrPort) int {
	b.t.Helper()
	value, err := b.ask(verb, number, address)
	if err != nil {
		b.t.Fatalf("%s %d %s: %v", verb, number, address, err)
	}
	return value
}

func (b *binder) refusedBind(verb string, where place) {
	b.t.Helper()
	if fd, err := b.ask(verb, where.v6Only, where.address); !errors.Is(err, unix.EADDRINUSE) {
		b.t.Errorf("%s %s: %v, want EADDRINUSE", verb, where.address, err)
		if err == nil {
			b.do("close", fd, nowhere)
		}
	}
}

// A place is where a server binds.
type place struct {
	address netip.AddrPort
	v6Only  int
}

func placeAt(address string, v6Only int) place {
	return place{netip.MustParseAddrPort(address), v6Only}
}

func (p place) listens() []socketOption {
	if p.address.Addr().Is4() {
		return nil
	}
	return []socketOption{{unix.SOL_IPV6, unix.IPV6_V6ONLY, p.v6Only}}
}

// takesOnlyV6 is what the kernel makes of it: it sets the option on every
// socket that is bound to an IPv6 address other than the wildcard.
func (p place) takesOnlyV6() bool {
	return p.v6Only != 0 || p.address.Addr().Is6() && !p.address.Addr().IsUnspecified()
}

var places = map[string]place{
	"v4":          placeAt("127.0.0.1:8080", 0),
	"v4 wildcard": placeAt("0.0.0.0:8080", 0),
	"v6":          placeAt("[::1]:8080", 0),
	"v6 wildcard": placeAt("[::]:8080", 1),
	"dual":        placeAt("[::]:8080", 0),
}

// A shop is an app in a cgroup and a network namespace of its own.
type shop struct {
	t      testing.TB
	ns     *netns.Namespace
	host   *Host
	tree   *cgroup.Tree
	app    *App
	events chan Event
	leaves int
	ended  map[int]bool // binders, by pid

	unwatch func() // ends the reading of events, when those that there are have been read
}

// newShop is on a host of its own, or on the one that is given.
func newShop(t testing.TB, spec AppSpec, host ...*Host) *shop {
	t.Helper()
	if host == nil {
		host = []*Host{newHost(t)}
	}
	s := &shop{t: t, host: host[0], ns: netns.New(t), events: make(chan Event, 1024), ended: make(map[int]bool)}
	mount, err := cgroup.Find()
	s.must(err)
	s.tree, err = mount.Create(fmt.Sprintf("loader-test-%d-%d", os.Getpid(), testNumber.Add(1)))
	s.must(err)
	t.Cleanup(s.clear)
	spec.Name, spec.Cgroup = "shop", s.tree.Path()
	s.app, err = s.host.CreateApp(spec)
	s.must(err)
	t.Cleanup(func() {
		if names, err := s.host.Apps(); err != nil || len(names) > 0 {
			s.destroy()
		}
		s.app.Close()
	})
	s.watch()
	return s
}

func (s *shop) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// clear takes the cgroup away; the processes in it have been told to end.
func (s *shop) clear() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := errors.Join(s.tree.Kill(), s.tree.WaitEmpty(ctx), s.tree.Remove(), s.tree.Close()); err != nil {
		s.t.Error(err)
	}
}

func (s *shop) destroy() {
	s.t.Helper()
	if err := s.app.Destroy(); err != nil {
		s.t.Error(err)
	}
}

func (s *shop) watch() {
	events, err := s.app.Events()
	s.must(err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			e, err := events.Read()
			if errors.Is(err, ringbuf.ErrFlushed) {
				return
			}
			if err != nil {
				s.t.Error(err)
				return
			}
			s.events <- e
		}
	}()
	s.unwatch = sync.OnceFunc(func() {
		err := events.reader.Flush()
		<-done
		if err := errors.Join(err, events.Close()); err != nil {
			s.t.Error(err)
		}
	})
	s.t.Cleanup(func() {
		s.unwatch()
		s.allExpected()
	})
}

// allExpected fails the test if something came that nobody expected, but for what
// the end of a process told.
func (s *shop) allExpected() {
	for len(s.events) > 0 {
		if e := <-s.events; e.Kind != Closed || !s.ended[e.PID] {
			s.t.Errorf("an event that nothing was expected of: %+v", e)
		}
	}
}

// binder starts a process in a leaf of its own.
func (s *shop) binder() *binder {
	s.t.Helper()
	s.leaves++
	leaf, err := s.tree.Leaf(fmt.Sprintf("w%d", s.leaves))
	s.must(err)
	dir, err := leaf.Open()
	s.must(err)
	defer dir.Close()
	b := &binder{t: s.t, leaf: leaf}
	cmd := child("binder", nil)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	b.in, err = cmd.StdinPipe()
	s.must(err)
	out, err := cmd.StdoutPipe()
	s.must(err)
	b.out = bufio.NewScanner(out)
	s.must(s.ns.Do(cmd.Start))
	b.pid = cmd.Process.Pid
	s.t.Cleanup(func() {
		b.in.Close()
		b.out.Scan() // its end
		if err := cmd.Wait(); err != nil {
			s.t.Errorf("binder: %v", err)
		}
		s.ended[b.pid] = true
	})
	return b
}

// expect compares the next event with one.
func (s *shop) expect(want Event) {
	s.t.Helper()
	select {
	case got := <-s.events:
		if got != want {
			s.t.Errorf("the event is %+v, want %+v", got, want)
		}
	case <-time.After(patience):
		s.t.Fatalf("no event came, want %+v", want)
	}
}

// listens binds and listens, and expects to be told so.
func (s *shop) listens(b *binder, where place) (fd int, told Event) {
	s.t.Helper()
	fd = b.do("bind", where.v6Only, where.address)
	b.do("listen", fd, nowhere)
	told = Event{Kind: Listening, Cookie: uint64(b.do("cookie", fd, nowhere)), Cgroup: b.leaf.ID(), PID: b.pid,
		Address: where.address, V6Only: where.takesOnlyV6()}
	s.expect(told)
	return fd, told
}

// Servers that know nothing of SO_REUSEPORT share a port, and are told of as
// they come and go.
func TestAppSharesPort(t *testing.T) {
	for kind, where := range places {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, AppSpec{})
			a, b := s.binder(), s.binder()
			fd, told := s.listens(a, where)
			s.listens(b, where)
			s.listens(b, where) // a process may have two
			if a.do("shared", fd, nowhere) != 1 {
				t.Error("the listener has no SO_REUSEPORT")
			}
			a.do("close", fd, nowhere)
			told.Kind = Closed
			s.expect(told)
		})
	}
}

// What a port or a protocol has nothing to do with the app stays as it is.
func TestAppPorts(t *testing.T) {
	t.Parallel()
	s := newShop(t, AppSpec{Ports: []uint16{8080, 8443}})
	a, b := s.binder(), s.binder()
	for _, where := range []place{placeAt("127.0.0.1:8080", 0), placeAt("[::1]:8443", 0)} {
		s.listens(a, where)
		s.listens(b, where)
	}
	for _, where := range []place{placeAt("127.0.0.1:8081", 0), placeAt("[::1]:8081", 0)} {
		if fd := a.do("bind", 0, where.address); a.do("shared", fd, nowhere) != 0 {
			t.Errorf("%s is shared, it isn't the app's", where.address)
		}
		b.refusedBind("bind", where)
	}
	for _, where := range []place{placeAt("127.0.0.1:0", 0), placeAt("[::1]:0", 0)} {
		fd := a.do("bind", 0, where.address)
		a.do("listen", fd, nowhere)
		if a.do("shared", fd, nowhere) != 0 {
			t.Errorf("a port that the kernel chose on %s is shared", where.address)
		}
	}
}

func TestAppUDP(t *testing.T) {
	for name, shared := range map[string]bool{"asked for": true, "not asked for": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, AppSpec{UDP: shared, Ports: []uint16{8080}})
			a, b := s.binder(), s.binder()
			for _, where := range []place{placeAt("127.0.0.1:8080", 0), placeAt("[::1]:8080", 0)} {
				a.do("bind-udp", 0, where.address)
				if shared {
					b.do("bind-udp", 0, where.address)
				} else {
					b.refusedBind("bind-udp", where)
				}
			}
			other := placeAt("127.0.0.1:8081", 0)
			a.do("bind-udp", 0, other.address)
			b.refusedBind("bind-udp", other)
		})
	}
}

// A client that binds a port before it connects is no server: it gets back what
// it had.
func TestAppClients(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, AppSpec{})
			address := netip.MustParseAddr(host)
			var server *worker
			s.must(s.ns.Do(func() (err error) {
				server, err = newWorker(netip.AddrPortFrom(address, 0))
				return err
			}))
			defer server.close()
			a := s.binder()
			for name, verb := range map[string]string{"without the option": "bind", "with the option": "bind-shared"} {
				want := 0
				if verb == "bind-shared" {
					want = 1
				}
				fd := a.do(verb, 0, netip.AddrPortFrom(address, uint16(7000+want)))
				if a.do("shared", fd, nowhere) != 1 {
					t.Errorf("a client that bound %s has no SO_REUSEPORT", name)
				}
				a.do("connect", fd, server.address)
				if got := a.do("shared", fd, nowhere); got != want {
					t.Errorf("a client that bound %s and connected has SO_REUSEPORT %d, want %d", name, got, want)
				}
			}
			fd := a.do("bind", 0, netip.AddrPortFrom(address, 0))
			a.do("connect", fd, server.address)
			if a.do("shared", fd, nowhere) != 0 {
				t.Error("a client without a port of its own has SO_REUSEPORT")
			}
		})
	}
}

// stranger listens on a port of the app without being of the app.
func (s *shop) stranger(where place) *worker {
	s.t.Helper()
	var other *worker
	s.must(s.ns.Do(func() (err error) {
		other, err = newWorker(where.address, where.listens()...)
		return err
	}))
	other.ns = s.ns
	s.t.Cleanup(other.close)
	return other
}

// Nobody joins a stranger by mistake, though the stranger would allow it.
func TestAppStranger(t *testing.T) {
	for kind, where := range places {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, AppSpec{})
			other := s.stranger(where)
			a := s.binder()
			for _, verb := range []string{"bind", "bind-shared"} {
				a.refusedBind(verb, where)
				s.expect(Event{Kind: Stranger, PID: a.pid, Address: where.address})
			}
			other.close()
			s.listens(a, where)
			s.listens(a, where)
		})
	}
}

// A stranger on the wildcard would get an address's connections too.
func TestAppStrangerOnWildcard(t *testing.T) {
	for name, c := range map[string]struct{ stranger, app place }{
		"v4":           {places["v4 wildcard"], places["v4"]},
		"v6":           {places["v6 wildcard"], places["v6"]},
		"dual, v6":     {places["dual"], places["v6"]},
		"dual, v4":     {places["dual"], places["v4"]},
		"dual, all v4": {places["dual"], places["v4 wildcard"]},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, AppSpec{})
			s.stranger(c.stranger)
			a := s.binder()
			a.refusedBind("bind", c.app)
			s.expect(Event{Kind: Stranger, PID: a.pid, Address: c.app.address})
		})
	}
	t.Run("another family", func(t *testing.T) {
		t.Parallel()
		s := newShop(t, AppSpec{})
		s.stranger(places["v6 wildcard"])
		s.listens(s.binder(), places["v4 wildcard"])
	})
}

// hooks counts the programs on the app's cgroup.
func (s *shop) hooks() (n int) {
	s.t.Helper()
	dir, err := os.Open(s.tree.Path())
	s.must(err)
	defer dir.Close()
	for _, attach := range []ebpf.AttachType{ebpf.AttachCGroupInet4Bind, ebpf.AttachCGroupInet6Bind,
		ebpf.AttachCGroupInet4Connect, ebpf.AttachCGroupInet6Connect} {
		result, err := link.QueryPrograms(link.QueryOptions{Target: int(dir.Fd()), Attach: attach})
		s.must(err)
		n += len(result.Programs)
	}
	return n
}

// With the app the hooks go, at once; that its pins go, newHost looks at.
func TestAppDestroy(t *testing.T) {
	t.Parallel()
	s := newShop(t, AppSpec{})
	a, b := s.binder(), s.binder()
	s.listens(a, places["v4"])
	s.listens(b, places["v4"])
	if n := s.hooks(); n != 4 {
		t.Errorf("%d hooks are attached, want 4", n)
	}
	s.destroy()
	if n := s.hooks(); n != 0 {
		t.Errorf("%d hooks are attached after the app's end", n)
	}
	for address, where := range map[string]place{"v4": placeAt("127.0.0.1:9090", 0), "v6": placeAt("[::1]:9090", 0)} {
		if fd := a.do("bind", 0, where.address); a.do("shared", fd, nowhere) != 0 {
			t.Errorf("%s: a bind after the app's end got SO_REUSEPORT", address)
		}
		b.refusedBind("bind", where)
	}
	if names, err := s.host.Apps(); err != nil || len(names) != 0 {
		t.Errorf("apps %v are left, %v", names, err)
	}
	if _, err := os.Stat(s.host.Dir()); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", s.host.Dir(), err)
	}
}
