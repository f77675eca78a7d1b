package loader

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// dial is Dial in the group's namespace. It may be called from several goroutines.
func (w *world) dial(slot int, to netip.AddrPort) (conn net.Conn, err error) {
	err = w.ns.Do(func() (err error) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		conn, err = w.group.Dial(ctx, slot, to)
		return err
	})
	return conn, err
}

// accepts fails the test unless worker slot has precisely these connections in its queue.
func (w *world) accepts(slot int, clients map[netip.AddrPort]bool) {
	w.t.Helper()
	for _, e := range w.workers[slot].acceptAll(w.t) {
		if !clients[e.remote] {
			w.t.Errorf("slot %d has a connection from %s, which wasn't for it", slot, e.remote)
		}
		delete(clients, e.remote)
	}
	if len(clients) > 0 {
		w.t.Errorf("slot %d has not: %v", slot, clients)
	}
}

// probesLeft are the notes of connections under way.
func (w *world) probesLeft() (left []abiProbeKey) {
	w.t.Helper()
	maps, err := w.host.pinnedMaps()
	w.must(err)
	defer maps.close()
	var key abiProbeKey
	var probe abiProbe
	all := maps.Probes.Iterate()
	for all.Next(&key, &probe) {
		left = append(left, key)
	}
	w.must(all.Err())
	return left
}

// Every Dial reaches its slot, with every policy and kind of listener, many at
// once and among others' connections; with SYN cookies, where the kernel picks
// twice; and whether the slot is held, full or neither.
func TestDial(t *testing.T) {
	for kind, where := range loopbacks {
		for _, policy := range Policies() {
			for _, cookies := range []string{"0", "2"} {
				t.Run(fmt.Sprintf("%s/%s/cookies %s", kind, policy, cookies), func(t *testing.T) {
					t.Parallel()
					w := newWorld(t, 4, policy, where)
					w.sysctl("net.ipv4.tcp_syncookies", cookies)
					w.must(errors.Join(w.group.Hold(1, HoldStart), w.group.Hold(2, HoldHang), w.group.SetMax(3, 1), w.group.SetMax(0, 0)))
					w.dialAll(64)
				})
			}
		}
	}
}

// dialAll makes n connections at once, to all slots in turn.
func (w *world) dialAll(n int) {
	w.t.Helper()
	var mu sync.Mutex
	wanted := make([]map[netip.AddrPort]bool, len(w.workers))
	for i := range wanted {
		wanted[i] = make(map[netip.AddrPort]bool)
	}
	together(n, func(i int) {
		slot := i % len(w.workers)
		others := w.connect(1)
		conn, err := w.dial(slot, w.server)
		if err != nil {
			w.t.Error(err)
			return
		}
		for _, e := range others {
			e.close()
		}
		w.t.Cleanup(func() { conn.Close() })
		mu.Lock()
		defer mu.Unlock()
		wanted[slot][conn.LocalAddr().(*net.TCPAddr).AddrPort()] = true
	})
	w.agree("dialed")
	for slot, clients := range wanted {
		if s := w.slot(slot); slot != 0 && slot != 3 && s.Connections != uint64(len(clients)) {
			w.t.Errorf("slot %d, %s, has %d connections, want %d", slot, s.State, s.Connections, len(clients))
		}
		if slot != 0 && slot != 3 { // these get the others' as well
			w.accepts(slot, clients)
		}
		if s := w.slot(slot); s.Probed < uint64(n/len(wanted)) {
			w.t.Errorf("slot %d was probed %d times, of %d", slot, s.Probed, n/len(wanted))
		}
	}
	if left := w.probesLeft(); len(left) != 0 || w.group.memory.value.Probing != 0 {
		w.t.Errorf("%d probes are left, %d are counted", len(left), w.group.memory.value.Probing)
	}
	if s := w.snapshot(); s.ProbeMissed != 0 || s.Fallback != 0 {
		w.t.Errorf("%d probes missed, %d fell back", s.ProbeMissed, s.Fallback)
	}
}

// The zero address is the group's own, and the loopback where it is a wildcard.
func TestDialFindsAddress(t *testing.T) {
	for kind, where := range map[string]setting{
		"v4": at("127.0.0.1", "127.0.0.1"), "v6": at("::1", "::1"), "any v4": at("0.0.0.0", "127.0.0.1"),
		"any v6": at("::", "::1", v6Only), "dual": at("::", "127.0.0.1", dualStack),
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 3, Hash, where)
			for slot := range 3 {
				conn, err := w.dial(slot, netip.AddrPort{})
				w.must(err)
				w.accepts(slot, map[netip.AddrPort]bool{conn.LocalAddr().(*net.TCPAddr).AddrPort(): true})
				conn.Close()
			}
		})
	}
}

// Dial says so when nobody is in the slot, and when the connection can't get there.
func TestDialFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, Least)
	w.workers[1].close()
	for _, slot := range []int{-1, 1, 7, MaxSlots} {
		if _, err := w.dial(slot, w.server); !errors.Is(err, ErrNoSlot) {
			t.Errorf("slot %d: %v, want ErrNoSlot", slot, err)
		}
	}
	other, err := func() (workers []*worker, err error) {
		err = w.ns.Do(func() (err error) {
			workers, err = newWorkers(1, netip.MustParseAddrPort("127.0.0.1:0"))
			return err
		})
		return workers, err
	}()
	w.must(err)
	defer other[0].close()
	if _, err := w.dial(0, other[0].address); !errors.Is(err, ErrNoSlot) {
		t.Errorf("another server's port: %v", err)
	}
	w.must(w.group.Unsteer(w.workers[0].fd))
	if _, err := w.dial(0, w.server); !errors.Is(err, ErrNoSlot) {
		t.Errorf("a group that isn't steered: %v", err)
	}
	w.must(w.group.Steer(w.workers[0].fd))
	if left := w.probesLeft(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// A client that nobody privileged speaks for does not get to a held slot, from
// whatever port it comes, also while others are dialed there.
func TestClientsCannotProbe(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, Least)
	w.must(w.group.Hold(2, HoldStart))
	over := make(chan struct{})
	var dialer sync.WaitGroup
	dialed := make(map[netip.AddrPort]bool)
	dialer.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
			}
			conn, err := w.dial(2, w.server)
			if err != nil {
				t.Error(err)
				return
			}
			dialed[conn.LocalAddr().(*net.TCPAddr).AddrPort()] = true
			conn.Close()
		}
	})
	for range scaled(2000, 200) {
		for _, e := range w.connect(1) {
			e.reset()
		}
	}
	close(over)
	dialer.Wait()
	w.accepts(2, dialed)
}

// What a killed process noted expires, gives nobody the slot, and goes with the next Dial.
func TestAbandonedProbe(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, Least)
	maps, err := w.host.pinnedMaps()
	w.must(err)
	defer maps.close()
	w.must(w.group.Hold(1, HoldStart))
	client := netip.MustParseAddrPort("127.0.0.9:4444")
	key := abiProbeKey{Address: addressWords(client.Addr()), Group: w.group.memory.value.Id, Port: networkOrder(client.Port())}
	probe := abiProbe{Slot: 1, Generation: w.slot(1).Generation}
	w.group.memory.value.Probing = 1
	here := func(fd int) error {
		return errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(fd, sockaddr(client)))
	}
	cases := map[string]func(){
		"expired":           func() {},
		"of another use":    func() { probe.Expires, probe.Generation = monotonic()+uint64(time.Hour), probe.Generation+1 },
		"of an unused slot": func() { probe.Generation--; probe.Slot = 5 },
		"of another group":  func() { key.Group++; probe.Generation++; probe.Slot = 1 },
	}
	for _, name := range []string{"expired", "of another use", "of an unused slot", "of another group"} {
		for _, old := range w.probesLeft() {
			w.must(maps.Probes.Delete(&old))
		}
		cases[name]()
		w.must(maps.Probes.Update(&key, &probe, ebpf.UpdateAny))
		for _, e := range w.connect(1, here) {
			e.reset()
		}
		w.empty(name) // the next one comes from the same port
		if n := w.slot(1).Picks; n != 0 {
			t.Errorf("%s: the held slot was picked", name)
		}
	}
	if n := w.snapshot().ProbeMissed; n != 3 {
		t.Errorf("%d probes missed, want 3", n)
	}
	probe.Expires = 1
	w.must(maps.Probes.Update(&key, &probe, ebpf.UpdateExist))
	conn, err := w.dial(0, w.server)
	w.must(err)
	conn.Close()
	if left := w.probesLeft(); len(left) != 0 || w.group.memory.value.Probing != 0 {
		t.Errorf("left: %v, %d counted", left, w.group.memory.value.Probing)
	}
}

// The table of connections under way is bounded.
func TestTooManyProbes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, Least)
	maps, err := w.host.pinnedMaps()
	w.must(err)
	defer maps.close()
	probe := abiProbe{Expires: monotonic() + uint64(time.Hour)}
	for n := range uint32(maxProbes) {
		w.must(maps.Probes.Put(&abiProbeKey{Group: 7, Address: [4]uint32{n}}, &probe))
	}
	if _, err := w.dial(0, w.server); !errors.Is(err, ErrFull) {
		t.Errorf("%v, want ErrFull", err)
	}
}

// A listener that defers accept bears a connection with its first data; the pick is known before.
func TestDialDeferred(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, Least)
	for _, worker := range w.workers {
		w.must(unix.SetsockoptInt(worker.fd, unix.SOL_TCP, unix.TCP_DEFER_ACCEPT, 5))
	}
	w.must(w.group.Hold(1, HoldStart))
	conn, err := w.dial(1, w.server)
	w.must(err)
	defer conn.Close()
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Error(err)
	}
	w.eventually("the connection is born", func() error {
		if n := w.slot(1).Connections; n != 1 {
			return fmt.Errorf("slot 1 has %d connections", n)
		}
		return nil
	})
}
