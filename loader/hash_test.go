package loader

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// manyAddresses lets clients in the namespace have any address of fd00::/64.
func (w *world) manyAddresses() {
	w.t.Helper()
	w.sysctl("net.ipv6.ip_nonlocal_bind", "1")
	w.must(w.ns.Do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		_, all, _ := net.ParseCIDR("fd00::/64")
		return netlink.RouteAdd(&netlink.Route{Dst: all, LinkIndex: lo.Attrs().Index,
			Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Scope: netlink.SCOPE_HOST})
	}))
}

// A crowd is clients by their addresses.
type crowd []netip.Addr

func crowd4(n int) (c crowd) {
	for i := range n {
		c = append(c, netip.AddrFrom4([4]byte{127, 9, byte(i >> 8), byte(i)}))
	}
	return c
}

func crowd6(n int) (c crowd) {
	for i := range n {
		c = append(c, netip.AddrFrom16([16]byte{0xfd, 7: 0, 12: byte(i), 15: byte(i >> 4)}))
	}
	return c
}

// homes connects once from each client and tells which slot it came to. The
// connections are closed again.
func (w *world) homes(c crowd) map[netip.Addr]int {
	w.t.Helper()
	home := make(map[netip.Addr]int)
	var visits []*end
	for _, client := range c {
		visits = append(visits, w.connect(1, from(client))...)
	}
	for _, worker := range w.workers {
		if !worker.open {
			continue
		}
		for _, e := range worker.acceptAll(w.t) {
			home[e.remote.Addr()] = worker.slot
			visits = append(visits, e)
		}
	}
	for _, e := range visits {
		e.reset()
	}
	w.agree("visits are over")
	if len(home) != len(c) {
		w.t.Fatalf("%d clients came, of %d", len(home), len(c))
	}
	return home
}

// onlyFrom fails the test unless just the clients of the slot have moved.
func onlyFrom(t *testing.T, what string, slot int, before, after map[netip.Addr]int) {
	t.Helper()
	for client, home := range before {
		if moved := after[client] != home; moved != (home == slot) {
			t.Errorf("%s: %s went from slot %d to %d", what, client, home, after[client])
		}
	}
}

func same(t *testing.T, what string, before, after map[netip.Addr]int) {
	t.Helper()
	const nobodys = -1
	onlyFrom(t, what, nobodys, before, after)
}

// A client keeps its slot. When that slot drains, is full or gone, only its
// clients move, and they come back.
func TestHashIsSticky(t *testing.T) {
	kinds := map[string]struct {
		where   setting
		clients crowd
	}{
		"v4":   {loopbacks["v4"], crowd4(200)},
		"v6":   {at("::", "fd00::1", v6Only), crowd6(200)},
		"dual": {loopbacks["dual"], crowd4(200)},
	}
	for kind, c := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 8, Hash, c.where)
			w.manyAddresses()
			home := w.homes(c.clients)
			same(t, "again", home, w.homes(c.clients))

			w.must(w.group.Drain(3))
			away := w.homes(c.clients)
			onlyFrom(t, "drained", 3, home, away)
			same(t, "still drained", away, w.homes(c.clients))
			w.must(w.group.Undrain(3))
			same(t, "not drained any more", home, w.homes(c.clients))

			w.workers[3].close()
			same(t, "gone", away, w.homes(c.clients))
			w.replace(3)
			same(t, "replaced", home, w.homes(c.clients))
		})
	}
}

// Clients of a full slot go elsewhere until it has room.
func TestHashOfFullSlot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 8, Hash)
	clients := crowd4(200)
	home := w.homes(clients)
	var stay netip.Addr
	for client, slot := range home {
		if slot == 5 {
			stay = client
		}
	}
	w.connect(2, from(stay)) // on top of none
	w.must(w.group.SetMax(5, 2))
	w.acceptAll()
	onlyFrom(t, "full", 5, home, w.homes(clients))
	w.closeAll()
	w.must(w.group.SetMax(5, 0))
	same(t, "empty again", home, w.homes(clients))
}

// A slot that joins takes its share from all others, and nobody else moves.
func TestHashWithNewSlot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 8, Hash)
	clients := crowd4(450)
	home := w.homes(clients)
	w.grow(1)
	after, moved := w.homes(clients), 0
	for client, slot := range after {
		if slot == home[client] {
			continue
		}
		if moved++; slot != 8 {
			t.Errorf("%s went from slot %d to %d", client, home[client], slot)
		}
	}
	// 50 of 450 are the ninth slot's.
	if moved < 20 || moved > 90 {
		t.Errorf("%d of %d clients moved to the ninth slot", moved, len(clients))
	}
}

func TestHashByWeight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, Hash)
	weights := []int{100, 200, 50, 0}
	for slot, weight := range weights {
		w.must(w.group.SetWeight(slot, weight))
	}
	counts := make([]int, 4)
	for _, slot := range w.homes(crowd4(700)) {
		counts[slot]++
	}
	if chiSquare(counts, weights...) > unlikely(2) || counts[3] != 0 {
		t.Errorf("700 clients over the weights %v: %v", weights, counts)
	}
}
