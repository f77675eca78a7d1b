package worker_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/sockdist/sockdist/userspace/worker"
)

// fill puts connections into the listener's queue, which nobody accepts yet.
func fill(t testing.TB, l *worker.Listener, n int) {
	t.Helper()
	for range n {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
}

// A drain isn't over before the last connection of the queue is accepted.
func TestDrainServesTheQueue(t *testing.T) {
	for _, steered := range []bool{false, true} {
		var l *worker.Listener
		if steered {
			l = newWorld(t).listen()
		} else {
			l = listen(t, "127.0.0.1:0")
		}
		fill(t, l, 5)
		var drains sync.WaitGroup
		drained := make(chan error, 3)
		for range 3 {
			drains.Go(func() { drained <- l.Drain(t.Context()) })
		}
		for range 5 {
			select {
			case err := <-drained:
				t.Errorf("steered %v: the drain is over, with connections in the queue: %v", steered, err)
			case <-time.After(400 * time.Millisecond):
			}
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
		}
		drains.Wait()
		for range 3 {
			if err := <-drained; err != nil {
				t.Errorf("steered %v: %v", steered, err)
			}
		}
	}
}

// Where nobody accepts, a drain lasts as long as its context, or until the Close.
func TestDrainEnds(t *testing.T) {
	l := newWorld(t).listen()
	fill(t, l, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := l.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	drained := make(chan error, 1)
	go func() { drained <- l.Drain(t.Context()) }()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	if err := l.Drain(t.Context()); err != nil {
		t.Errorf("after the Close: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("the second Close: %v", err)
	}
}

// greeter is a server of its own protocol. It tells clients when they are to leave, and
// closes when they do.
type greeter struct {
	l     net.Listener
	conns sync.WaitGroup
}

func (g *greeter) Serve(l net.Listener) error {
	g.l = l
	for {
		conn, err := l.Accept()
		if err != nil {
			return nil
		}
		g.conns.Go(func() {
			defer conn.Close()
			c := worker.ConnOf(conn)
			c.Begin()
			defer c.End()
			c.OnLeaving(func() { _, _ = io.WriteString(conn, "bye") })
			_, _ = io.WriteString(conn, "hello")
			_, _ = io.Copy(io.Discard, conn)
		})
	}
}

func (g *greeter) Shutdown(context.Context) error {
	err := g.l.Close()
	g.conns.Wait()
	return err
}

func TestRunOfAnotherServer(t *testing.T) {
	l := listen(t, "127.0.0.1:0", worker.WithLoad(worker.InFlight))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx, &greeter{}) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	hear := func(want string) {
		t.Helper()
		word := make([]byte, len(want))
		if _, err := io.ReadFull(conn, word); err != nil || string(word) != want {
			t.Errorf("heard %q, want %q: %v", word, want, err)
		}
	}
	hear("hello")
	if got := l.Load().Value(); got != 1 {
		t.Errorf("load %d, want 1", got)
	}
	cancel()
	hear("bye")
	select {
	case err := <-ended:
		t.Errorf("it ended with a client there: %v", err)
	case <-time.After(1500 * time.Millisecond):
	}
	conn.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := l.Load().Value(); got != 0 {
		t.Errorf("load %d, want 0", got)
	}
}
