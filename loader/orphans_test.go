package loader

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Where the last listener of all goes, the kernel asks nobody: its queue is
// reset, and no failure is counted.
func TestNobodyToMigrateTo(t *testing.T) {
	for how, depart := range departures {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			w, peer, server := raw(t, 2)
			clients := w.connect(10)
			half, err := peer.SYNs(server, 10)
			w.must(err)
			for _, h := range half {
				w.must(h.SYNACK(patience))
			}
			w.workers[0].close()
			depart(w, 1)
			w.agree("all are gone")
			for _, c := range clients {
				if _, err := c.receive(); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("a client without a server read %v", err)
				}
			}
			for _, h := range half {
				w.must(h.ACK())
				w.must(h.AwaitRST(patience))
			}
			if s := w.snapshot(); s.MigrateFailed != 0 || s.Migrated != 5 || sum(w.shares()) != 0 {
				t.Errorf("%d moved, %d failed, slots have %v; the queue of the first of two moved", s.Migrated, s.MigrateFailed, w.shares())
			}
			if n := w.refused(3); n != 3 {
				t.Errorf("%d of 3 were refused with no listener left", n)
			}
		})
	}
}

// A listener without a slot is in the kernel's group all the same. It gets a
// queue only when no slot can take it; then the kernel's hash has chosen, and
// the failure is counted.
func TestMigratesToStranger(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, Least)
	stranger := w.listen(1, w.workers[0].address)[0]
	w.workers = w.workers[:2]
	defer stranger.close()
	clients := w.connect(20)
	speak(t, clients)
	w.workers[0].close()
	w.agree("moved")
	w.moved(0, 10, 0)
	w.workers[1].close()
	w.eventually("the queue moves", func() error {
		if s := w.snapshot(); s.Migrated != 10 || s.MigrateFailed != 20 {
			return fmt.Errorf("%d moved and %d failed, want 10 and 20", s.Migrated, s.MigrateFailed)
		}
		return nil
	})
	w.workers = append(w.workers, stranger)
	w.served(clients)
	w.closeAll()
	w.empty("nobody's connections are closed")
	w.workers = w.workers[:2]
}

// echo answers on a connection what comes, until it ends. What it can't say the
// client will tell.
func echo(fd int) {
	defer unix.Close(fd)
	_ = bePatient(fd)
	buffer := make([]byte, 256)
	for {
		n, err := unix.Read(fd, buffer)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			return
		}
		_, _ = unix.SendmsgN(fd, buffer[:n], nil, nil, unix.MSG_NOSIGNAL)
	}
}

// Listeners come and go under traffic, with connections at every point of their
// handshake. None that was not accepted by one that went is lost, but for one that the
// kernel may reset as its handshake ends at that moment: see stormThrough.
func TestNothingIsLostInMigration(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, Least)
	var echoing sync.WaitGroup
	t.Cleanup(echoing.Wait)                // last: until all have stopped, each may begin another
	for _, worker := range w.workers[:2] { // these stay
		t.Cleanup(w.serve(worker, func(_, fd int) { echoing.Go(func() { echo(fd) }) }))
	}
	var ending atomic.Bool
	var clients sync.WaitGroup
	var answered, reset atomic.Int64
	for range 4 {
		clients.Go(func() {
			err := w.ns.Do(func() error {
				for n := 0; !ending.Load(); n++ {
					err := ask(w.server)
					switch {
					case err == nil:
						answered.Add(1)
					case errors.Is(err, unix.ECONNRESET):
						reset.Add(1)
					default:
						return fmt.Errorf("after %d connections: %w", n, err)
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	// Two slots have listeners that never accept, and go after a moment.
	rounds := 0
	for began := time.Now(); time.Since(began) < 2*epoch && !t.Failed(); rounds++ {
		time.Sleep(2 * time.Millisecond)
		slot := 2 + rounds%2
		if rounds%3 == 0 {
			w.must(w.workers[slot].shut())
		}
		w.workers[slot].close()
		w.replace(slot)
	}
	w.workers[2].close()
	w.workers[3].close()
	ending.Store(true)
	clients.Wait()
	w.empty("all are answered")
	if n := reset.Load(); n > 1 {
		t.Errorf("%d clients were reset in %d rounds, and %d answered", n, rounds, answered.Load())
	}
	if s := w.snapshot(); s.MigrateFailed != 0 || s.Unmarked != 0 {
		t.Errorf("%d answers in %d rounds: %+v", answered.Load(), rounds, s)
	}
}

// ask opens a connection and wants its own words back.
func ask(server netip.AddrPort) error {
	e, err := connect(server)
	if err != nil {
		return err
	}
	defer e.reset()
	if err := e.send("hello"); err != nil {
		return err
	}
	if text, err := e.receive(); text != "hello" {
		return fmt.Errorf("%s read %q: %w", e.local, text, err)
	}
	return nil
}

// Half-open handshakes that were given up move too, if the kernel comes across
// them, and expire where they went.
func TestAbandonedHandshakesMigrate(t *testing.T) {
	t.Parallel()
	w, peer, server := raw(t, 4)
	half, err := peer.SYNs(server, 40)
	w.must(err)
	w.workers[0].close()
	w.repeated(10)
	w.abort(half)
	w.agree("reset")
	w.expired()
	w.connect(30)
	if got := w.shares(); got[0] != 0 || got[1] != 10 || got[2] != 10 || got[3] != 10 {
		t.Errorf("30 connections after 40 were given up: %v", got)
	}
}
