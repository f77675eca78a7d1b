package attachment

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/sockdist/sockdist/loader"
)

var withoutEnd = context.Background()

// Nginx runs, with connections that the kernel's hash gave out; then each new
// one goes to the least-loaded worker.
func TestNginx(t *testing.T) {
	const workers, before, total = 4, 60, 400
	w := newWorld(t)
	w.listen = ":80"
	nginx := w.startNginx(workers)
	old := w.hold(before)

	g := w.attach()
	if g.Spec.Name != "80" || !g.New || g.Unowned != 0 || g.LeftOut != 0 {
		t.Errorf("attached %+v", g)
	}
	pids := nginx.Workers()
	slices.Sort(pids)
	if got := slotPIDs(g); !slices.Equal(got, pids) {
		t.Errorf("slots of %v, want the workers %v in order", got, pids)
	}
	for _, s := range g.Slots {
		if int(s.Connections) != old.PIDs()[s.PID] {
			t.Errorf("slot %d begins with %d, want the %d that %d serves", s.Slot.Slot, s.Connections, old.PIDs()[s.PID], s.PID)
		}
		if s.Process != "nginx" || s.Servers != 1 || len(s.Holders) != workers+1 || s.Holders[0].PID != nginx.PID {
			t.Errorf("slot %d: %+v; want one worker that polls what its master and all workers hold", s.Slot.Slot, s)
		}
	}

	held := append(old, w.hold(total-before)...)
	if got, want := held.PIDs(), evenly(pids, total/workers); !maps.Equal(got, want) {
		t.Errorf("connections %v, want %v", got, want)
	}
	w.wantCounts("80", held.PIDs())
	held[:total/2].Close()
	held[total/2:].Reset()
	w.wantCounts("80", evenly(pids, 0))
}

func TestFamilies(t *testing.T) {
	for _, c := range []struct {
		name, listen, attach, connect, group string
	}{
		{"v4", "127.0.0.1:80", "127.0.0.1:80", "127.0.0.1:80", "127-0-0-1-80"},
		{"v6", "[::1]:80", "[::1]:80", "[::1]:80", "v6-::1-80"},
		{"v4 wildcard", "tcp4://0.0.0.0:80", ":80", "127.0.0.1:80", "80"},
		{"v6 wildcard", "tcp6://[::]:80", "tcp6://:80", "[::1]:80", "80"},
		{"dual by v4", "[::]:80", ":80", "127.0.0.1:80", "80"},
		{"dual by v6", "[::]:80", "[::]:80", "[::1]:80", "80"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.listen, w.server = c.attach, netip.MustParseAddrPort(c.connect)
			children := serveMany(t, w.ns, c.listen, 3)
			old := w.hold(10)
			g := w.attach()
			if g.Spec.Name != c.group || g.Spec.NetNS != w.ns.Inode() {
				t.Errorf("attached %+v, want it as %s", g.Spec, c.group)
			}
			w.wantCounts(c.group, filled(old.PIDs(), children))
			held := append(old, w.hold(20)...)
			if got, want := held.PIDs(), evenly(pidsOf(children), 10); !maps.Equal(got, want) {
				t.Errorf("connections %v, want %v", got, want)
			}
		})
	}
}

// filled adds processes that have none.
func filled(counts map[int]int, children []*child) map[int]int {
	for _, c := range children {
		counts[c.pid()] += 0
	}
	return counts
}

// One address can mean two groups, of which each has its own connections.
func TestBothFamilies(t *testing.T) {
	w := newWorld(t)
	v4, v6 := serveMany(t, w.ns, "tcp4://0.0.0.0:80", 2), serveMany(t, w.ns, "tcp6://[::]:80", 2)
	serve(t, w.ns, "127.0.0.1:80") // closer to clients than the wildcard: none of the group's
	to4, to6 := netip.MustParseAddrPort("127.0.0.2:80"), netip.MustParseAddrPort("[::1]:80")
	w.client.Hold(t, w.server, 5, 1)
	old4, old6 := w.client.Hold(t, to4, 5, 1), w.client.Hold(t, to6, 7, 1)

	w.listen = ":80"
	for _, isNew := range []bool{true, false} {
		groups, err := Attach(t.Context(), w.host, w.options())
		if err != nil {
			t.Fatal(err)
		}
		if len(groups) != 2 || groups[0].Spec.Name != "80" || groups[1].Spec.Name != "80-v6" || groups[0].New != isNew || groups[1].New != isNew {
			t.Fatalf("attached %+v, want 80 and 80-v6, new: %v", groups, isNew)
		}
		for _, g := range groups {
			w.detachInTheEnd(g)
		}
	}
	w.wantCounts("80", filled(old4.PIDs(), v4))
	w.wantCounts("80-v6", filled(old6.PIDs(), v6))
	if got, want := append(old4, w.client.Hold(t, to4, 15, 1)...).PIDs(), evenly(pidsOf(v4), 10); !maps.Equal(got, want) {
		t.Errorf("IPv4: %v, want %v", got, want)
	}
	if got, want := append(old6, w.client.Hold(t, to6, 13, 1)...).PIDs(), evenly(pidsOf(v6), 10); !maps.Equal(got, want) {
		t.Errorf("IPv6: %v, want %v", got, want)
	}

	w.detach("80")
	groups, err := Attach(t.Context(), w.host, w.options())
	if err != nil || len(groups) != 2 || !groups[0].New || groups[1].New {
		t.Fatalf("attached again: %+v, %v", groups, err)
	}
	w.detachInTheEnd(groups[0])
}

// What waits in accept queues is counted, and stays where it is.
func TestQueuedConnections(t *testing.T) {
	w := newWorld(t)
	serve(t, w.ns, w.listen, "-deaf")
	serve(t, w.ns, w.listen, "-deaf")
	for range 20 {
		w.dial()
	}
	w.until("the queue", func() (bool, string) {
		sum := 0
		err := w.ns.Do(func() error {
			found, err := w.options().scan()
			for _, k := range found {
				for _, l := range k.listeners {
					sum += int(l.Backlog)
				}
			}
			return err
		})
		return err == nil && sum == 20, ""
	})
	g := w.attach()
	sum := 0
	for _, s := range g.Slots {
		sum += int(s.Connections)
	}
	if sum != 20 {
		t.Errorf("%d counted, want the 20 in the queues: %+v", sum, g.Slots)
	}
}

// A process with a thread, and an epoll set, for each socket.
func TestThreads(t *testing.T) {
	w := newWorld(t)
	threads := serve(t, w.ns, w.listen, "-sets", "-listeners", "3")
	old := w.hold(30)
	backlogs := w.acceptedBySet(threads.pid())
	g := w.attach()
	for i, s := range g.Slots {
		if s.PID != threads.pid() || int(s.Connections) != backlogs[i] {
			t.Errorf("slot %d: %d of process %d, want the %v of its thread", s.Slot.Slot, s.Connections, s.PID, backlogs[i])
		}
	}
	w.hold(60)
	for _, s := range w.snapshot(g.Spec.Name).Slots {
		if s.Connections != 30 {
			t.Errorf("slot %d has %d, want 30", s.Slot, s.Connections)
		}
	}
	old.Close()
}

// acceptedBySet counts the connections of each epoll set, in the order of the listeners' inodes.
func (w *world) acceptedBySet(pid int) (counts []int) {
	w.t.Helper()
	err := w.ns.Do(func() error {
		found, err := w.options().scan()
		if err != nil {
			return err
		}
		connections, err := found[0].connections()
		if err != nil {
			return err
		}
		sets := make(map[int]int)
		for _, c := range connections {
			holders, err := holdersOf([]uint32{c.Inode})
			if err != nil {
				return err
			}
			sets[holders[c.Inode][0].Set]++
		}
		for _, l := range found[0].listeners {
			counts = append(counts, sets[l.server.Set])
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return counts
}

// A process with one event loop for several sockets: nobody can tell, so it is even.
func TestOneLoopForSeveralSlots(t *testing.T) {
	w := newWorld(t)
	serve(t, w.ns, w.listen, "-listeners", "3")
	w.hold(30)
	for _, s := range w.attach().Slots {
		if s.Connections != 10 {
			t.Errorf("slot %d has %d, want 10", s.Slot.Slot, s.Connections)
		}
	}
}

// Connections that were handed to processes without a slot.
func TestUnowned(t *testing.T) {
	w := newWorld(t)
	children := []*child{serve(t, w.ns, w.listen, "-hand-over"), serve(t, w.ns, w.listen, "-hand-over")}
	held := w.hold(6)
	g := w.attach()
	if g.Unowned != 6 {
		t.Errorf("%d connections without owner, want 6", g.Unowned)
	}
	w.wantCounts(g.Spec.Name, evenly(pidsOf(children), 0))
	// Those that come through a slot are counted, whoever has them.
	w.hold(6)
	w.wantCounts(g.Spec.Name, evenly(pidsOf(children), 3))
	if g := w.attach(); g.Unowned != 6 {
		t.Errorf("%d connections without owner, want the 6 old ones still", g.Unowned)
	}
	held.Close()
}

func TestPolicy(t *testing.T) {
	w := newWorld(t)
	w.serve(2)
	o := w.options()
	policy := loader.RR
	o.Policy = &policy
	if g := w.attachAs(o); g.Spec.Policy != loader.RR {
		t.Errorf("new with %s", g.Spec.Policy)
	}
	if g := w.attach(); g.Spec.Policy != loader.RR || len(g.Changes) != 0 {
		t.Errorf("without a policy: %s, %v", g.Spec.Policy, g.Changes)
	}
	policy = loader.Hash
	if g := w.attachAs(o); g.Spec.Policy != loader.Hash || len(g.Changes) != 1 || g.Changes[0].Kind != Repolicied {
		t.Errorf("with another policy: %s, %v", g.Spec.Policy, g.Changes)
	}
}

// Only the sockets of some processes get slots.
func TestPIDs(t *testing.T) {
	w := newWorld(t)
	children := w.serve(3)
	o := Options{Address: parse(t, w.listen), PIDs: pidsOf(children[:2])} // their namespace, too
	g := w.attachAs(o)
	if got, want := slotPIDs(g), pidsOf(children[:2]); !slices.Equal(got, want) || g.LeftOut != 1 {
		t.Errorf("slots of %v and %d left out, want %v and one", got, g.LeftOut, want)
	}
	if got, want := w.hold(20).PIDs(), evenly(pidsOf(children[:2]), 10); !maps.Equal(got, want) {
		t.Errorf("connections %v, want %v", got, want)
	}

	o.PIDs = pidsOf(children[2:])
	if g := w.attachAs(o); !slices.Equal(slotPIDs(g), pidsOf(children[2:])) || g.LeftOut != 2 {
		t.Errorf("slots of %v and %d left out, want the third", slotPIDs(g), g.LeftOut)
	}
	// Back in their slots, what the processes still have is counted again.
	w.attach()
	w.wantCounts(g.Spec.Name, map[int]int{children[0].pid(): 10, children[1].pid(): 10, children[2].pid(): 0})
}

// An app that ends meanwhile takes its groups away, which is nobody's trouble.
func TestLookWhileGroupsComeAndGo(t *testing.T) {
	const comings = 10
	host := newHost(t)
	done := make(chan error, 1)
	go func() {
		for range comings {
			g, err := host.CreateGroup(loader.GroupSpec{Name: "brief", Address: netip.MustParseAddrPort("127.0.0.1:1")})
			if err == nil {
				err = g.Destroy()
				g.Close()
			}
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
		if _, err := knownGroups(host, nil); err != nil {
			<-done
			t.Fatal(err)
		}
	}
}
