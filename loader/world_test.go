package loader

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/internal/privilege"
)

// testNumber makes names unique within a run.
var testNumber atomic.Int64

// newHost is a pin folder of the test's own, which must be gone when the test ends.
func newHost(t testing.TB) *Host {
	t.Helper()
	privilege.Require(t)
	mount, err := mountedFolder()
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

// A world is a group of workers in a network namespace of its own: worker i has
// slot i. It may be used from several goroutines where that is said.
type world struct {
	t       testing.TB
	ns      *netns.Namespace
	host    *Host
	group   *Group
	server  netip.AddrPort // where clients connect
	workers []*worker
	former  []*end // of workers whose slot has another listener now: not counted
	options []socketOption

	incomplete bool // what workers accepted is not what slots opened: see acceptedAgree

	mu      sync.Mutex
	clients []*end
}

// A setting changes what newWorld makes.
type setting func(*plan)

type plan struct {
	address netip.AddrPort
	client  netip.Addr
	options []socketOption
	ns      *netns.Namespace
	host    *Host
}

// at is where the workers listen, and which address clients connect to.
func at(address, client string, options ...socketOption) setting {
	return func(p *plan) {
		p.address = netip.AddrPortFrom(netip.MustParseAddr(address), p.address.Port())
		p.client, p.options = netip.MustParseAddr(client), options
	}
}

func in(ns *netns.Namespace) setting { return func(p *plan) { p.ns = ns } }
func on(h *Host) setting             { return func(p *plan) { p.host = h } }

// loopbacks are the kinds of listeners that there are.
var loopbacks = map[string]setting{
	"v4":   at("127.0.0.1", "127.0.0.1"),
	"v6":   at("::1", "::1"),
	"dual": at("::", "127.0.0.1", dualStack),
}

// newWorld makes n workers, gives them slots and steers. In the end every
// connection closes, and no slot may have a count.
func newWorld(t testing.TB, n int, policy Policy, settings ...setting) *world {
	t.Helper()
	p := plan{}
	at("127.0.0.1", "127.0.0.1")(&p)
	for _, set := range settings {
		set(&p)
	}
	if p.host == nil {
		p.host = newHost(t)
	}
	if p.ns == nil {
		p.ns = netns.New(t)
	}
	w := &world{t: t, ns: p.ns, host: p.host, options: p.options}
	t.Cleanup(w.end)
	w.listen(n, p.address)
	w.server = netip.AddrPortFrom(p.client, w.workers[0].address.Port())
	w.create(policy)
	for _, worker := range w.workers {
		w.add(worker)
	}
	w.must(w.group.Steer(w.workers[0].fd))
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// listen makes n more workers, without slots.
func (w *world) listen(n int, address netip.AddrPort) []*worker {
	w.t.Helper()
	var more []*worker
	w.must(w.ns.Do(func() (err error) {
		more, err = newWorkers(n, address, w.options...)
		return err
	}))
	for _, worker := range more {
		worker.slot, worker.ns = len(w.workers), w.ns
		w.workers = append(w.workers, worker)
	}
	return more
}

// grow makes n more workers and gives them slots.
func (w *world) grow(n int) {
	w.t.Helper()
	first := w.workers[0].address
	for _, worker := range w.listen(n, first) {
		w.add(worker)
	}
}

func (w *world) add(worker *worker) {
	w.t.Helper()
	_, err := w.group.Add(worker.slot, worker.listener())
	w.must(err)
}

// create makes the group; it ends with the test.
func (w *world) create(policy Policy) {
	w.t.Helper()
	g, err := w.host.CreateGroup(GroupSpec{Name: fmt.Sprintf("t%d", testNumber.Add(1)),
		Address: w.workers[0].address, NetNS: w.ns.Inode(), Policy: policy})
	w.must(err)
	w.group = g
}

// connect opens n connections, one after the other. It may be called from
// several goroutines.
func (w *world) connect(n int, prepare ...func(fd int) error) []*end {
	w.t.Helper()
	ends, err := w.try(n, prepare...)
	if err != nil {
		w.t.Error(err)
	}
	return ends
}

// try is connect where failing is no fault: it returns those that succeeded.
func (w *world) try(n int, prepare ...func(fd int) error) (ends []*end, err error) {
	err = w.ns.Do(func() error {
		for range n {
			e, err := connect(w.server, prepare...)
			if err != nil {
				return err
			}
			ends = append(ends, e)
		}
		return nil
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clients = append(w.clients, ends...)
	return ends, err
}

// acceptAll empties every queue.
func (w *world) acceptAll() (taken []*end) {
	w.t.Helper()
	for _, worker := range w.workers {
		if worker.open {
			taken = append(taken, worker.acceptAll(w.t)...)
		}
	}
	return taken
}

// closeAll ends every connection that the test has an end of.
func (w *world) closeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.clients {
		c.reset()
	}
	w.clients = nil
	for _, c := range w.former {
		c.reset()
	}
	w.former = nil
	for _, worker := range w.workers {
		for _, c := range worker.accepted {
			c.reset()
		}
		worker.accepted = nil
	}
}

// end closes all there is and takes the group away.
func (w *world) end() {
	w.closeAll()
	if w.group != nil {
		w.drained()
		if err := w.group.Destroy(); err != nil {
			w.t.Error(err)
		}
		w.group.Close()
	}
	for _, worker := range w.workers {
		worker.close()
	}
}

// sysctl sets a setting of the network namespace.
func (w *world) sysctl(name, value string) {
	w.t.Helper()
	w.must(w.ns.Do(func() error {
		return os.WriteFile("/proc/sys/"+strings.ReplaceAll(name, ".", "/"), []byte(value), 0)
	}))
}

// extension is a counter of the namespace's TCP, as nstat(8) names it.
func (w *world) extension(name string) (value int) {
	w.t.Helper()
	w.must(w.ns.Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/netstat")
		lines := strings.Split(string(text), "\n")
		for i := 0; i+1 < len(lines); i += 2 {
			names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
			if n := slices.Index(names, name); n >= 0 && err == nil {
				value, err = strconv.Atoi(values[n])
			}
		}
		return err
	}))
	return value
}
