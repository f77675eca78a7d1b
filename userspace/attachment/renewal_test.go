package attachment

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
)

func kindsOf(changes []Change) (kinds []string) {
	for _, c := range changes {
		kinds = append(kinds, fmt.Sprintf("%s %d", c.Kind, c.Slot))
	}
	return kinds
}

func wantChanges(t *testing.T, g Group, want ...string) {
	t.Helper()
	if got := kindsOf(g.Changes); !slices.Equal(got, want) {
		t.Errorf("changes %q, want %q", got, want)
	}
}

func TestAttachAgain(t *testing.T) {
	w := newWorld(t)
	children := w.serve(3)
	g := w.attach()
	name := g.Spec.Name
	wantChanges(t, g, "slot taken 0", "slot taken 1", "slot taken 2", "steering -1")
	held := w.hold(30)

	wantChanges(t, w.attach()) // nothing
	w.wantCounts(name, held.PIDs())

	// One more, and one less.
	children = append(children, serve(t, w.ns, w.listen))
	wantChanges(t, w.attach(), "slot taken 3")
	held = append(held, w.hold(10)...)
	if held.PIDs()[children[3].pid()] != 10 {
		t.Errorf("connections %v, want the last 10 at the new server, %d", held.PIDs(), children[3].pid())
	}
	children[1].end()
	wantChanges(t, w.attach(), "slot freed 1")

	// A listener that is gone leaves its slot, with what an operator set, to the next.
	group, err := w.host.Group(name)
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	if err := errors.Join(group.SetWeight(2, 300), group.SetMax(2, 77), group.Drain(2)); err != nil {
		t.Fatal(err)
	}
	children[2].end()
	children[2] = serve(t, w.ns, w.listen)
	wantChanges(t, w.attach(), "slot taken 2")
	for _, s := range w.snapshot(name).Slots {
		if s.Slot == 2 && (s.PID != children[2].pid() || s.Weight != 300 || s.Max != 77 || s.State != loader.Draining) {
			t.Errorf("slot 2 is %+v, want what it was with process %d", s, children[2].pid())
		}
	}
	if err := group.Undrain(2); err != nil {
		t.Fatal(err)
	}

	// And with a newer one beside, which gets the freed one.
	children[1] = serve(t, w.ns, w.listen)
	wantChanges(t, w.attach(), "slot taken 1")
	w.wantCounts(name, map[int]int{children[0].pid(): 10, children[1].pid(): 0, children[2].pid(): 0, children[3].pid(): 10})
}

// The program is attached to sockets, and goes with the last of them.
func TestSteersAgain(t *testing.T) {
	w := newWorld(t)
	children := w.serve(2)
	g := w.attach()
	for _, c := range children {
		c.kill()
	}
	children = w.serve(2)
	if n := len(w.steerers()); n != 0 {
		t.Fatalf("%d sockets are steered after a restart", n)
	}
	wantChanges(t, w.attach(), "slot taken 0", "slot taken 1", "steering -1")
	if got, want := w.hold(20).PIDs(), evenly(pidsOf(children), 10); !maps.Equal(got, want) {
		t.Errorf("connections %v, want %v", got, want)
	}

	// Or somebody takes it off.
	group, err := w.host.Group(g.Spec.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	err = w.ns.Do(func() error {
		found, err := w.options().scan()
		if err != nil {
			return err
		}
		return found[0].listeners[0].with(group.Unsteer)
	})
	if err != nil {
		t.Fatal(err)
	}
	wantChanges(t, w.attach(), "steering -1")
	w.wantCounts(g.Spec.Name, evenly(pidsOf(children), 10))
}

// A context that ends at the n-th look.
type ending struct {
	context.Context
	mu   sync.Mutex
	left int
}

func (c *ending) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// An interruption at any step leaves nothing of a new group, and what was there
// before as it was.
func TestInterrupted(t *testing.T) {
	w := newWorld(t)
	serve(t, w.ns, "tcp4://0.0.0.0:80")
	serve(t, w.ns, "tcp6://[::]:80")
	w.listen = ":80"
	o := w.options()
	steps := 0
	for ; ; steps++ {
		groups, err := Attach(&ending{Context: context.Background(), left: steps}, w.host, o)
		if err == nil {
			for _, g := range groups {
				w.detachInTheEnd(g)
			}
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("after %d steps: %v", steps, err)
		}
		if names, err := w.host.Groups(); err != nil || len(names) > 0 {
			t.Fatalf("after %d steps there are %v, %v", steps, names, err)
		}
		if steered := w.steerers(); len(steered) > 0 {
			t.Fatalf("after %d steps sockets are steered: %v", steps, steered)
		}
	}
	if steps < 10 {
		t.Errorf("it was interrupted at %d steps only", steps)
	}
	if _, err := Attach(&ending{Context: context.Background()}, w.host, o); err != nil {
		t.Errorf("interrupted with nothing new: %v", err)
	}
}

// Attaching, bringing up to date and detaching lose no connection.
func TestUnderLoad(t *testing.T) {
	w := newWorld(t)
	children := w.serve(3)
	held := w.hold(30)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ledgers := make(chan clients.Ledger)
	go func() {
		ledgers <- w.client.Load(ctx, w.server, clients.Limits{Count: 1 << 20, Duration: time.Minute, Rate: 300})
	}()
	for range 2 {
		g := w.attach()
		serve := serve(t, w.ns, w.listen)
		w.attach()
		w.detach(g.Spec.Name)
		// What it has would be lost with it: it leaves when that is nothing.
		w.attachAs(Options{Address: parse(t, w.listen), PIDs: pidsOf(children)})
		w.untilIdle(serve)
		serve.end()
		w.detach(g.Spec.Name)
	}
	stop()
	ledger := <-ledgers
	if lost := ledger.Lost(); len(lost) > 0 || len(ledger) < 100 {
		t.Errorf("under load: %v", ledger)
	}
	if lost := held.Ask().Lost(); len(lost) > 0 {
		t.Errorf("held: %v", lost)
	}
	g := w.attach()
	w.wantCounts(g.Spec.Name, held.PIDs())
}

// untilIdle waits until a server that gets no more connections has none.
func (w *world) untilIdle(c *child) {
	w.t.Helper()
	w.until("the last connection of a server", func() (bool, string) {
		left := 0
		err := w.ns.Do(func() (err error) {
			left, err = w.connectionsOf(c.pid())
			return err
		})
		return err == nil && left == 0, fmt.Sprint(left, err)
	})
}

// connectionsOf counts what a process has accepted and what waits for it. It works in
// the namespace.
func (w *world) connectionsOf(pid int) (n int, err error) {
	found, err := w.options().scan()
	if err != nil {
		return 0, err
	}
	for _, l := range found[0].listeners {
		if l.server.PID == pid {
			n += int(l.Backlog)
		}
	}
	connections, err := found[0].connections()
	if err != nil {
		return 0, err
	}
	var inodes []uint32
	for _, c := range connections {
		inodes = append(inodes, c.Inode)
	}
	holders, err := sockets.Holders(inodes)
	var hidden *sockets.HiddenError
	if err != nil && !errors.As(err, &hidden) { // a connection that nobody has any more is nothing special
		return 0, err
	}
	for _, inode := range inodes {
		if slices.ContainsFunc(holders[inode], func(h sockets.Holder) bool { return h.PID == pid }) {
			n++
		}
	}
	return n, nil
}

// Two addresses at once, by two callers.
func TestTwoAtOnce(t *testing.T) {
	w := newWorld(t)
	addresses := []string{"127.0.0.1:80", "127.0.0.1:81"}
	var children [][]*child
	for _, a := range addresses {
		children = append(children, serveMany(t, w.ns, a, 2))
	}
	for range 2 {
		var attached sync.WaitGroup
		for _, a := range addresses {
			for range 2 { // and each twice
				attached.Go(func() {
					if _, err := Attach(t.Context(), w.host, Options{Address: parse(t, a), NetNS: w.ns.Path()}); err != nil {
						t.Error(err)
					}
				})
			}
		}
		attached.Wait()
		for i, name := range []string{"127-0-0-1-80", "127-0-0-1-81"} {
			w.wantCounts(name, evenly(pidsOf(children[i]), 0))
		}
		if n := len(w.steerers()); n != 4 {
			t.Errorf("%d sockets steered, want all 4", n)
		}
		var detached sync.WaitGroup
		for _, name := range []string{"127-0-0-1-80", "127-0-0-1-81"} {
			detached.Go(func() { w.detach(name) })
		}
		detached.Wait()
		if n := len(w.steerers()); n != 0 {
			t.Errorf("%d sockets steered, want none", n)
		}
	}
}
