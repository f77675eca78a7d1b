package loader

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/netns"
)

// A group takes the connections of every kind of listener, from clients of each
// family that reach it, and least spreads them evenly.
func TestListenerKinds(t *testing.T) {
	wildcards := map[string]setting{
		"v4, all":    at("0.0.0.0", "127.0.0.1"),
		"v4, one":    at("127.0.0.1", "127.0.0.1"),
		"v6, all":    at("::", "::1", v6Only),
		"v6, one":    at("::1", "::1"),
		"dual stack": at("::", "::1", dualStack),
	}
	for kind, where := range wildcards {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 4, Least, where)
			w.connect(40)
			w.spread("in the queues", 4, 40)
			w.acceptAll()
			w.connect(40)
			w.spread("half accepted", 4, 80)
			w.each("reset by clients", w.clients[:40], resetEnd)
		})
	}
}

// spread checks that n workers have equal parts of all connections, and that
// they all came by the group's choice.
func (w *world) spread(what string, n, connections int) {
	w.t.Helper()
	w.agree(what)
	for _, s := range w.snapshot().Slots {
		if s.Connections != uint64(connections/n) {
			w.t.Errorf("%s: slots have %v, want %d each", what, w.shares(), connections/n)
			return
		}
	}
	if s := w.snapshot(); s.Fallback != 0 || s.Refused != 0 || len(s.Slots) != n {
		w.t.Errorf("%s: %+v", what, s)
	}
}

// Clients of both families count together at a dual-stack listener.
func TestDualStack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, Least, at("::", "127.0.0.1", dualStack))
	v4, v6 := w.server, netip.AddrPortFrom(netip.IPv6Loopback(), w.server.Port())
	for range 20 {
		w.server = v4
		w.connect(1)
		w.server = v6
		w.connect(2)
	}
	w.spread("both families", 4, 60)
	servers := w.acceptAll()
	families := map[bool]int{}
	for _, e := range servers {
		families[e.remote.Addr().Is4()]++
	}
	if families[true] != 20 || families[false] != 40 {
		t.Errorf("%d connections are of IPv4 and %d of IPv6, want 20 and 40", families[true], families[false])
	}
	w.each("closed by servers", servers[:30], closeEnd)
	w.each("reset by clients", w.clients, resetEnd)
}

func onPort(port uint16) setting {
	return func(p *plan) { p.address = netip.AddrPortFrom(p.address.Addr(), port) }
}

// Groups of one host, on several ports and addresses of one namespace and on the
// same ones of others, have nothing to do with each other.
func TestSeveralGroups(t *testing.T) {
	t.Parallel()
	host, ns := newHost(t), netns.New(t)
	worlds := map[string]*world{
		"one port":          newWorld(t, 2, Least, on(host), in(ns), onPort(8080)),
		"another port":      newWorld(t, 3, Least, on(host), in(ns), onPort(8081)),
		"another family":    newWorld(t, 2, Least, on(host), in(ns), at("::1", "::1"), onPort(8082)),
		"a namespace":       newWorld(t, 4, Least, on(host), onPort(8080)),
		"another namespace": newWorld(t, 2, Least, on(host), at("::", "127.0.0.1", dualStack), onPort(8080)),
	}
	if groups, err := host.Groups(); err != nil || len(groups) != len(worlds) {
		t.Fatalf("groups are %v, %v; want %d", groups, err, len(worlds))
	}
	round := 0
	for range 3 {
		for _, w := range worlds {
			w.connect(12)
		}
		round++
		for name, w := range worlds {
			w.spread(name, len(w.workers), 12*round)
			g, err := host.Group(w.group.Name())
			w.must(err)
			if got := g.Spec(); got.NetNS != w.ns.Inode() || got.Address != w.workers[0].address {
				t.Errorf("%s: the group says %+v", name, got)
			}
			g.Close()
		}
	}
	closing := worlds["a namespace"]
	closing.workers[0].close()
	closing.closeAll()
	for name, w := range worlds {
		if w != closing {
			w.spread(name, len(w.workers), 36)
		}
	}
}

// bare is a group without listeners, in a namespace of its own.
func bare(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, 1, Least)
	w.must(w.group.Remove(0))
	return w
}

// socket makes a socket in the world's namespace that closes with the test.
func (w *world) socket(kind, protocol int, options ...socketOption) (fd int) {
	w.t.Helper()
	w.must(w.ns.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, protocol)
		for _, o := range options {
			if err == nil {
				err = unix.SetsockoptInt(fd, o.level, o.name, o.value)
			}
		}
		if err == nil {
			err = unix.Bind(fd, sockaddr(netip.MustParseAddrPort("127.0.0.1:0")))
		}
		return err
	}))
	w.t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func (w *world) listening(protocol int, options ...socketOption) int {
	w.t.Helper()
	fd := w.socket(unix.SOCK_STREAM, protocol, options...)
	w.must(unix.Listen(fd, 16))
	return fd
}

// refuses checks that a socket gets no slot, and takes none.
func (w *world) refuses(what string, slot, fd int, want error) {
	w.t.Helper()
	before := w.snapshot().Slots
	if got, err := w.group.Add(slot, Listener{FD: fd}); !errors.Is(err, want) {
		w.t.Errorf("%s: slot %d, %v; want %v", what, got, err, want)
	}
	if after := w.snapshot().Slots; fmt.Sprint(after) != fmt.Sprint(before) {
		w.t.Errorf("%s: slots were %v and are %v", what, before, after)
	}
}

func TestAddRefuses(t *testing.T) {
	w := bare(t)
	w.refuses("no SO_REUSEPORT", -1, w.listening(unix.IPPROTO_TCP), ErrNotShared)
	w.refuses("not listening", -1, w.socket(unix.SOCK_STREAM, unix.IPPROTO_TCP, reusePort), ErrNotListening)
	w.refuses("UDP", -1, w.socket(unix.SOCK_DGRAM, unix.IPPROTO_UDP, reusePort), ErrNotListening)
	w.refuses("no descriptor", -1, -1, ErrNotListening)
	file, err := unix.MemfdCreate("not a socket", unix.MFD_CLOEXEC)
	w.must(err)
	defer unix.Close(file)
	w.refuses("no socket", -1, file, ErrNotListening)
	accepting := w.listening(unix.IPPROTO_TCP, reusePort)
	w.must(unix.Shutdown(accepting, unix.SHUT_RD))
	w.refuses("no longer listening", -1, accepting, ErrNotListening)
	for _, slot := range []int{MaxSlots, MaxSlots + 1, 1 << 40} {
		w.refuses("slot out of range", slot, w.workers[0].fd, ErrNoSlot)
	}
}

func TestAddRefusesMPTCP(t *testing.T) {
	w := bare(t)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_MPTCP)
	if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOPROTOOPT) {
		t.Skip("this kernel has no MPTCP")
	}
	w.must(err)
	unix.Close(fd)
	w.refuses("MPTCP", -1, w.listening(unix.IPPROTO_MPTCP, reusePort), ErrMPTCP)
}

// A socket can be in one array only, and the kernel doesn't say in whose.
func TestAddRefusesSteered(t *testing.T) {
	w := bare(t)
	others, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.ReusePortSockArray, KeySize: 4, ValueSize: 8, MaxEntries: 4})
	w.must(err)
	defer others.Close()
	fd := w.listening(unix.IPPROTO_TCP, reusePort)
	w.must(others.Put(uint32(2), uint64(fd)))
	w.refuses("in another array", -1, fd, ErrSteered)
	w.refuses("in another array", 7, fd, ErrSteered)
	w.must(others.Delete(uint32(2)))
	if slot, err := w.group.Add(7, Listener{FD: fd}); slot != 7 || err != nil {
		t.Errorf("out of the other array: slot %d, %v", slot, err)
	}
	w.must(w.group.Remove(7))
}

// Nor can it be in two groups.
func TestAddRefusesOtherGroups(t *testing.T) {
	host := newHost(t)
	w, other := newWorld(t, 2, Least, on(host)), newWorld(t, 1, Least, on(host))
	other.refuses("in another group", -1, w.workers[0].fd, ErrSteered)
	w.connect(10)
	w.spread("after another group wanted it", 2, 10)
}

func TestAddTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, Least)
	before := w.slot(1)
	for _, slot := range []int{-1, 1} {
		l := w.workers[1].listener()
		l.Start = uint64(100 + slot)
		if got, err := w.group.Add(slot, l); got != 1 || err != nil {
			t.Errorf("added again as %d: slot %d, %v", slot, got, err)
		}
		if s := w.slot(1); s.Start != l.Start || s.Generation != before.Generation || s.Cookie != w.workers[1].cookie {
			t.Errorf("added again: %+v", s)
		}
	}
	fresh := w.listen(1, w.workers[0].address)[0]
	w.refuses("a slot that is taken", 1, fresh.fd, ErrSlotTaken)
	w.must(w.group.Drain(1))
	w.refuses("a slot that drains", 1, fresh.fd, ErrSlotTaken)
	w.must(w.group.Undrain(1))
	w.add(fresh) // slot 3
	w.connect(20)
	w.spread("the last one is in", 4, 20)
}

// A free slot in the middle is taken first.
func TestAddTakesLowest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, Least)
	for _, slot := range []int{2, 0} {
		w.must(w.group.SetWeight(slot, 7))
		w.must(w.group.SetMax(slot, 3))
		w.must(w.group.Remove(slot))
		if err := w.group.Remove(slot); !errors.Is(err, ErrNoSlot) {
			t.Errorf("slot %d was freed twice: %v", slot, err)
		}
	}
	for _, want := range []int{0, 2} {
		got, err := w.group.Add(-1, w.workers[want].listener())
		if got != want || err != nil {
			t.Errorf("slot %d, %v; want %d", got, err, want)
		}
		if s := w.slot(want); s.Weight != DefaultWeight || s.Max != 0 || s.State != Live {
			t.Errorf("a slot taken anew: %+v", s)
		}
	}
	w.connect(20)
	w.spread("all are in again", 4, 20)
}

// All slots work, and there are no more.
func TestFullGroup(t *testing.T) {
	w := newWorld(t, MaxSlots, Least)
	last := w.listen(1, w.workers[0].address)[0]
	w.workers = w.workers[:MaxSlots]
	defer last.close()
	w.refuses("a full group", -1, last.fd, ErrFull)
	w.refuses("a full group", MaxSlots, last.fd, ErrNoSlot)
	w.refuses("a full group", MaxSlots-1, last.fd, ErrSlotTaken)
	w.connect(2 * MaxSlots)
	w.spread("full", MaxSlots, 2*MaxSlots)
}

func TestRanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, Least)
	for _, weight := range []int{-1, MaxWeight + 1, 1 << 40} {
		if err := w.group.SetWeight(0, weight); !errors.Is(err, unix.EINVAL) {
			t.Errorf("weight %d: %v", weight, err)
		}
	}
	for _, weight := range []int{MaxWeight, 0, 1, DefaultWeight} {
		w.must(w.group.SetWeight(0, weight))
		want := Live
		if weight == 0 {
			want = Draining
		}
		if s := w.slot(0); s.Weight != weight || s.State != want {
			t.Errorf("weight %d: %+v", weight, s)
		}
	}
	for _, slot := range []int{-1, 2, MaxSlots, 1 << 40} { // 2 is free
		for what, err := range map[string]error{
			"weight": w.group.SetWeight(slot, 1), "maximum": w.group.SetMax(slot, 1), "drain": w.group.Drain(slot),
			"undrain": w.group.Undrain(slot), "remove": w.group.Remove(slot),
		} {
			if !errors.Is(err, ErrNoSlot) {
				t.Errorf("%s of slot %d: %v", what, slot, err)
			}
		}
	}
	if err := w.group.SetPolicy(Policy(len(Policies()) + 50)); err == nil {
		t.Error("a policy that there isn't was taken")
	}
	w.connect(10)
	w.spread("afterwards", 2, 10)
}
