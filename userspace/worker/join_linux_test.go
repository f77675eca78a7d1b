package worker_test

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/membership"
	"github.com/sockdist/sockdist/userspace/worker"
)

// greet answers each connection with a word, until the listener is closed.
func greet(t testing.TB, l *worker.Listener, word string) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, word)
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
}

// hear connects and returns what is said.
func hear(t testing.TB, address string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	word, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(word)
}

func TestJoin(t *testing.T) {
	w := newWorld(t)
	one, two := w.listen(), w.listen(worker.WithGroup("test"))
	for i, l := range []*worker.Listener{one, two} {
		if !l.Steered() || l.Slot() != i || l.Group() != "test" || l.Addr().String() != w.address() {
			t.Errorf("it has slot %d of %q at %s", l.Slot(), l.Group(), l.Addr())
		}
	}
	greet(t, one, "one")
	greet(t, two, "two")

	// The kernel goes by the load.
	two.Load().Add(100)
	for range 20 {
		if got := hear(t, w.address()); got != "one" {
			t.Fatalf("%s got a connection with a load of 100", got)
		}
	}
	one.Load().Set(200)
	if got := w.slot(0).Load; got != 200 {
		t.Errorf("the kernel sees a load of %d, want 200", got)
	}
	for range 20 {
		if got := hear(t, w.address()); got != "two" {
			t.Fatalf("%s got a connection with a load of 200", got)
		}
	}
	eventually(t, "both have a heartbeat", func() bool { return w.slot(0).Beat > 2 && w.slot(1).Beat > 2 })

	if err := two.Close(); err != nil {
		t.Error(err)
	}
	eventually(t, "the slot is free", func() bool { return w.slot(1).Slot < 0 })
}

// The load from before the join goes along, and everything that is added meanwhile.
func TestPlainThenJoin(t *testing.T) {
	w := newWorld(t)
	w.hangUp()
	l := w.listen()
	if l.Steered() || l.Slot() != -1 || l.Group() != "" {
		t.Errorf("it has slot %d of %q", l.Slot(), l.Group())
	}
	greet(t, l, "plain")
	if got := hear(t, w.address()); got != "plain" {
		t.Errorf("got %q", got)
	}
	l.Load().Add(5)
	w.serve()
	for !l.Steered() {
		l.Load().Inc()
		l.Load().Done()
	}
	if got := w.slot(0).Load; got != 5 {
		t.Errorf("the kernel sees a load of %d, want 5", got)
	}
	if !nonBlocking(t, l) {
		t.Error("its listener blocks a thread now")
	}
	if got := hear(t, w.address()); got != "plain" {
		t.Errorf("got %q", got)
	}
}

func nonBlocking(t testing.TB, l *worker.Listener) bool {
	t.Helper()
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var flags int
	if err := raw.Control(func(fd uintptr) { flags, err = unix.FcntlInt(fd, unix.F_GETFL, 0) }); err != nil {
		t.Fatal(err)
	}
	return err == nil && flags&unix.O_NONBLOCK != 0
}

func TestNoSocket(t *testing.T) {
	one := listen(t, "127.0.0.1:0")
	two := listen(t, one.Addr().String()) // workers share a port without a daemon too
	if one.Steered() || two.Steered() {
		t.Error("it is steered")
	}
	one.Load().Inc()
	if got := one.Load().Value(); got != 1 {
		t.Errorf("load %d", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := one.Drain(ctx); err != nil {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	w := newWorld(t, func(c *membership.Config) { c.Slots = 1 })
	w.listen()
	join := func(opts ...worker.Option) error {
		l, err := worker.Listen(t.Context(), "tcp", w.address(), append(opts, quiet(t), worker.WithSocket(w.socket))...)
		if err == nil {
			l.Close()
		}
		t.Log(err)
		return err
	}
	if err := join(); !errors.Is(err, worker.ErrRefused) {
		t.Errorf("the group is full: %v", err)
	}
	if err := join(worker.WithGroup("other")); !errors.Is(err, worker.ErrRefused) {
		t.Errorf("there is no such group: %v", err)
	}
	if _, err := worker.Listen(t.Context(), "udp", w.address()); err == nil {
		t.Error("it listens at udp")
	}
}

// Who takes the call and says nothing holds Listen up only as long as ctx allows.
func TestSilentDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control")
	silent, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	l, err := worker.Listen(ctx, "tcp", "127.0.0.1:0", quiet(t), worker.WithSocket(path))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if err == nil {
		l.Close()
	}
}

// The daemon dies and comes back again and again; nothing is lost, and the
// load stays exact.
func TestRejoin(t *testing.T) {
	w := newWorld(t)
	l := w.listen()
	greet(t, l, "here")
	want := int64(0)
	for range 3 {
		w.die()
		if !l.Steered() || l.Slot() != 0 {
			t.Error("it isn't steered any more")
		}
		for range 10 {
			l.Load().Inc()
			want++
			if got := hear(t, w.address()); got != "here" {
				t.Fatalf("got %q", got)
			}
		}
		w.openGroup()
		w.serve()
		beat := w.slot(0).Beat
		eventually(t, "it beats on", func() bool { return w.slot(0).Beat > beat })
		eventually(t, "it has joined again", func() bool { return w.sessions() == 1 })
		if got := w.slot(0).Load; int64(got) != want {
			t.Errorf("the kernel sees a load of %d, want %d", got, want)
		}
	}
	if !nonBlocking(t, l) {
		t.Error("its listener blocks a thread now")
	}
}

func TestDrain(t *testing.T) {
	w := newWorld(t)
	one, two := w.listen(), w.listen()
	greet(t, one, "one")
	greet(t, two, "two")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := two.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	if hold := w.slot(1).Hold; hold&loader.HoldLeave == 0 {
		t.Errorf("its slot is held for %v", hold)
	}
	for range 20 {
		if got := hear(t, w.address()); got != "one" {
			t.Fatalf("%s got a connection", got)
		}
	}
	eventually(t, "a worker that drains has no heartbeat", func() bool { return w.slot(1).Beat == 0 })

	// Also when the daemon comes back.
	w.die()
	w.openGroup()
	w.serve()
	eventually(t, "the other one has joined again", func() bool { return w.sessions() > 0 })
	for range 20 {
		if got := hear(t, w.address()); got != "one" {
			t.Fatalf("%s got a connection", got)
		}
	}
}

// With no daemon to tell, the load does it.
func TestDrainWithoutDaemon(t *testing.T) {
	w := newWorld(t)
	one, two := w.listen(), w.listen(worker.WithLoad(worker.Manual))
	greet(t, one, "one")
	greet(t, two, "two")
	w.die()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := two.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	two.Load().Set(0)
	for range 20 {
		if got := hear(t, w.address()); got != "one" {
			t.Fatalf("%s got a connection", got)
		}
	}
}
