package worker_test

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/internal/servers"
	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/membership"
	"github.com/sockdist/sockdist/userspace/sockets"
	"github.com/sockdist/sockdist/userspace/wire"
	"github.com/sockdist/sockdist/userspace/worker"
)

func init() {
	prepare = func() {
		// The netlink library sets itself up at its first use, with no lock.
		if _, err := sockets.Listeners(sockets.Address{}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

var hosts atomic.Int64

// world is a daemon with one group, in this process.
type world struct {
	t      testing.TB
	host   *loader.Host
	config membership.Config
	socket string
	group  *membership.Group // nil: the daemon isn't there
	server *wire.Server
	joined atomic.Int64
}

// sessions is how many workers have one.
func (w *world) sessions() int64 { return w.joined.Load() }

// newWorld opens a group at a free port. change may change what it is.
func newWorld(t testing.TB, change ...func(*membership.Config)) *world {
	t.Helper()
	privilege.Require(t)
	dir := fmt.Sprintf("/sys/fs/bpf/sockdist-worker-test-%d-%d", os.Getpid(), hosts.Add(1))
	host, err := loader.Open(loader.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, host: host, socket: filepath.Join(t.TempDir(), "control")}
	w.config = membership.Config{Name: "test", Listen: freePort(t), Slots: 16, Logger: slog.New(slog.NewTextHandler(output{t}, nil))}
	for _, f := range change {
		f(&w.config)
	}
	w.openGroup()
	w.serve()
	t.Cleanup(func() {
		if w.group == nil {
			w.openGroup()
		}
		w.hangUp()
		if err := w.group.Remove(); err != nil {
			t.Error(err)
		}
		if err := host.Remove(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("pins left in %s", dir)
			os.RemoveAll(dir)
		}
	})
	return w
}

// freePort is an address of the test's own, until its end.
func freePort(t testing.TB) netip.AddrPort {
	t.Helper()
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(servers.FreePort(t, nil)))
}

func (w *world) openGroup() {
	w.t.Helper()
	var err error
	if w.group, err = membership.Open(w.host, w.config); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) serve() {
	w.t.Helper()
	var err error
	if w.server, err = wire.Serve(w.socket, wire.Options{Mode: 0o666, UID: -1, GID: -1}, w); err != nil {
		w.t.Fatal(err)
	}
}

// hangUp stops answering at the socket, and ends sessions.
func (w *world) hangUp() {
	if w.server == nil {
		return
	}
	if err := w.server.Close(); err != nil {
		w.t.Error(err)
	}
	w.server = nil
}

// die ends the daemon as a kill does: the kernel side stays.
func (w *world) die() {
	if err := w.group.Close(); err != nil {
		w.t.Error(err)
	}
	w.hangUp()
	w.group = nil
}

// Answer is for operators, of whom there are none.
func (w *world) Answer(*wire.Peer, wire.Request, func(string)) wire.Reply { return wire.Reply{} }

// Join hands the worker to the group that it means.
func (w *world) Join(s *wire.Session, r wire.Request, files []*os.File) {
	if r.Join == nil || !w.group.Matches(*r.Join) {
		_ = s.Reply(wire.Reply{Done: true, Error: "no such group"})
		return
	}
	w.joined.Add(1)
	defer w.joined.Add(-1)
	w.group.Join(s, r, files)
}

func (w *world) address() string { return w.config.Listen.String() }

// listen is a worker of the group.
func (w *world) listen(opts ...worker.Option) *worker.Listener {
	w.t.Helper()
	return listen(w.t, w.address(), append([]worker.Option{worker.WithSocket(w.socket)}, opts...)...)
}

// slot is what the kernel side says of a slot.
func (w *world) slot(number int) loader.Slot {
	w.t.Helper()
	g, err := w.host.Group(w.config.Name)
	if err != nil {
		w.t.Fatal(err)
	}
	defer g.Close()
	s, err := g.Snapshot()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, slot := range s.Slots {
		if slot.Slot == number {
			return slot
		}
	}
	return loader.Slot{Slot: -1}
}
