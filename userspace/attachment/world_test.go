package attachment

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/kernels/guest"
	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/internal/servers"
	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
)

var testNumber atomic.Int64

// newHost is a pin folder of the test's own, which must be gone when the test ends.
func newHost(t testing.TB) *loader.Host {
	t.Helper()
	privilege.Require(t)
	machine, err := loader.Open(loader.Options{})
	if err != nil {
		t.Fatal(err)
	}
	mount := filepath.Dir(filepath.Dir(machine.Dir()))
	dir := filepath.Join(mount, fmt.Sprintf("sockdist-attachment-%d-%d", os.Getpid(), testNumber.Add(1)))
	host, err := loader.Open(loader.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("pins left in %s", dir)
			os.RemoveAll(dir)
		}
	})
	return host
}

// A world is a network namespace with a pin folder, and an address in it.
type world struct {
	t      testing.TB
	ns     *netns.Namespace
	host   *loader.Host
	listen string         // where servers listen
	server netip.AddrPort // where clients connect
	client clients.Client
}

func newWorld(t testing.TB) *world {
	t.Helper()
	host := newHost(t)
	ns := netns.New(t)
	return &world{t: t, ns: ns, host: host, listen: "127.0.0.1:80", server: netip.MustParseAddrPort("127.0.0.1:80"),
		client: clients.Client{In: ns}}
}

func (w *world) options() Options {
	w.t.Helper()
	return Options{Address: parse(w.t, w.listen), NetNS: w.ns.Path()}
}

func parse(t testing.TB, text string) sockets.Address {
	t.Helper()
	a, err := sockets.ParseAddress(text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// serve starts n servers at the world's address.
func (w *world) serve(n int) []*child {
	w.t.Helper()
	return serveMany(w.t, w.ns, w.listen, n)
}

// attach expects one group, which is detached in the end.
func (w *world) attach() Group {
	w.t.Helper()
	return w.attachAs(w.options())
}

func (w *world) attachAs(o Options) Group {
	w.t.Helper()
	groups, err := Attach(w.t.Context(), w.host, o)
	if err != nil {
		w.t.Fatal(err)
	}
	if len(groups) != 1 {
		w.t.Fatalf("%d groups, want one: %+v", len(groups), groups)
	}
	w.detachInTheEnd(groups[0])
	return groups[0]
}

func (w *world) detachInTheEnd(g Group) {
	w.t.Helper()
	if !g.New {
		return
	}
	w.t.Cleanup(func() {
		names, err := w.host.Groups()
		if err != nil {
			w.t.Error(err)
		}
		if slices.Contains(names, g.Spec.Name) {
			w.detach(g.Spec.Name)
		}
	})
}

func (w *world) detach(name string) {
	w.t.Helper()
	// The test's context has ended when it is cleaned up.
	if err := Detach(withoutEnd, w.host, name, w.ns.Path()); err != nil {
		w.t.Error(err)
	}
}

// hold opens connections until the test ends.
func (w *world) hold(n int) clients.Held {
	w.t.Helper()
	return w.client.Hold(w.t, w.server, n, 8)
}

// dial opens a connection that nobody need answer.
func (w *world) dial() {
	w.t.Helper()
	err := w.ns.Do(func() error {
		c, err := net.Dial("tcp", w.server.String())
		if err == nil {
			w.t.Cleanup(func() { c.Close() })
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// steerers are the programs in the namespace by socket.
func (w *world) steerers() (programs map[uint64]uint32) {
	w.t.Helper()
	err := w.ns.Do(func() (err error) {
		programs, err = loader.Steerers()
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return programs
}

// counts are the connections of each process by the group's own count.
func (w *world) counts(name string) map[int]int {
	w.t.Helper()
	counts := make(map[int]int)
	for _, s := range w.snapshot(name).Slots {
		counts[s.PID] += int(s.Connections)
	}
	return counts
}

func (w *world) snapshot(name string) loader.Snapshot {
	w.t.Helper()
	g, err := w.host.Group(name)
	if err != nil {
		w.t.Fatal(err)
	}
	defer g.Close()
	s, err := g.Snapshot()
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// wantCounts compares the group's counts with what clients know, which the
// kernel side reaches a moment after a close.
func (w *world) wantCounts(name string, want map[int]int) {
	w.t.Helper()
	w.until(fmt.Sprintf("the counts of %s to be %v", name, want), func() (bool, string) {
		got := w.counts(name)
		return maps.Equal(got, want), fmt.Sprint(got)
	})
}

// patience is longer than a watch takes to see what its glances didn't tell it.
const patience = 2 * lookEvery

// until waits for what comes in its own time.
func (w *world) until(what string, reached func() (bool, string)) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		ok, got := reached()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain for %s, got %s", what, got)
		}
	}
}

// evenly is the same for each process.
func evenly(pids []int, n int) map[int]int {
	counts := make(map[int]int)
	for _, pid := range pids {
		counts[pid] = n
	}
	return counts
}

func pidsOf(children []*child) (pids []int) {
	for _, c := range children {
		pids = append(pids, c.pid())
	}
	return pids
}

// slotPIDs are who serves the slots, by number.
func slotPIDs(g Group) (pids []int) {
	for _, s := range g.Slots {
		pids = append(pids, s.PID)
	}
	return pids
}

// startNginx starts nginx on port 80 of the world, with a listener a worker.
func (w *world) startNginx(workers int, listen ...string) *servers.Process {
	w.t.Helper()
	if kernel := os.Getenv(guest.Variable); kernel != "" {
		w.t.Skip("no nginx in a guest")
	}
	p := servers.Options{Port: 80, In: w.ns}.Start(w.t, servers.Nginx(workers, listen...))
	p.AwaitWorkers(w.t, workers)
	return p
}
