package loader

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/internal/packets"
)

// rescue moves the slot's queue to others, as for a worker that hangs: through
// a duplicate of its listener, which listens again at once.
func (w *world) rescue(slot int) {
	w.t.Helper()
	w.rescueWhile(slot, func() {})
}

// rescueWhile does something when the listener listens again, and has its slot not yet.
func (w *world) rescueWhile(slot int, meanwhile func()) {
	w.t.Helper()
	again, err := unix.FcntlInt(uintptr(w.workers[slot].fd), unix.F_DUPFD_CLOEXEC, 0)
	w.must(err)
	defer unix.Close(again)
	w.must(unix.Shutdown(again, unix.SHUT_RDWR))
	// One that was bound to port 0 has lost its port now, though getsockname still says it.
	if err := unix.Bind(again, sockaddr(w.workers[slot].address)); !errors.Is(err, unix.EINVAL) {
		w.must(err)
	}
	w.must(unix.Listen(again, 4096))
	meanwhile()
	if got, err := w.group.Add(-1, Listener{FD: again, PID: w.workers[slot].listener().PID}); got != slot || err != nil {
		w.t.Fatalf("the listener of slot %d got slot %d, %v", slot, got, err)
	}
}

// A listener that was shut and listens again has its slot as before, with what
// it had accepted.
func TestReviveKeepsCounts(t *testing.T) {
	for kind, where := range loopbacks {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 3, Least, where)
			w.connect(30)
			w.workers[0].acceptAll(t)
			clients := w.connect(30)
			w.must(w.group.Hold(0, HoldHang))
			before := w.slot(0)
			w.rescue(0)
			w.agree("rescued")
			after := w.slot(0)
			if after.Generation != before.Generation || after.Hold != HoldHang || after.State != Ejected || after.Picks != before.Picks {
				t.Errorf("before %+v\nafter %+v", before, after)
			}
			if after.Connections != 10 || after.Opened != 10 || after.MovedOut != 10 {
				t.Errorf("10 were accepted and 10 queued: %+v", after)
			}
			w.must(w.group.Unhold(0, HoldHang))
			w.connect(30)
			w.agree("it gets connections again")
			if s := w.slot(0); s.Connections != 30 {
				t.Errorf("the least loaded slot has %d of 30 connections", s.Connections)
			}
			w.rescue(0)
			w.agree("rescued again")
			w.acceptAll()
			w.each("closed by clients", clients, closeEnd)
			if s := w.snapshot(); s.Stale != 0 || s.Unmarked != 0 || s.MigrateFailed != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A handshake may end when its listener listens again and has its slot not yet;
// what became of it is not taken for one that waits, at the next rescue.
func TestReviveAroundHandshake(t *testing.T) {
	t.Parallel()
	ns := netns.New(t)
	peer := packets.NewPeer(t, ns)
	w := newWorld(t, 2, Least, in(ns), at("::", "::1", dualStack))
	half, err := peer.SYNs(netip.AddrPortFrom(peer.Server4(), w.server.Port()), 2)
	w.must(err)
	for _, h := range half {
		w.must(h.SYNACK(patience))
	}
	w.rescueWhile(0, func() {
		for _, h := range half {
			w.must(h.ACK())
		}
	})
	if n := len(w.workers[0].acceptAll(t)); n != 1 {
		t.Fatalf("slot 0 accepted %d of two connections over two slots", n)
	}
	w.agree("accepted")
	w.rescueWhile(0, func() { w.abort(half) })
	w.acceptAll()
	w.agree("ended while the listener had no slot")
}

// Rescues lose nothing and miscount nothing while connections come, are
// accepted and end: what the slots say is what sock_diag says, each time.
func TestReviveUnderLoad(t *testing.T) {
	for kind, where := range loopbacks {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 4, Least, where)
			reset := 0
			for round := range scaled(12, 3) {
				reset += w.stormThrough(func() {
					for range 4 {
						w.rescue(round % 4)
						time.Sleep(5 * time.Millisecond)
					}
				})
				w.agree(fmt.Sprintf("round %d", round))
				w.acceptAll()
				w.closeAll()
				w.agree("closed")
			}
			if reset > 2 {
				t.Errorf("%d clients were reset", reset)
			}
			if s := w.snapshot(); s.MigrateFailed != 0 || s.Refused != 0 || s.Unmarked != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// stormWhile lets clients come and go, and workers accept, while f runs. No
// client may fail.
func (w *world) stormWhile(f func()) {
	w.t.Helper()
	if reset := w.stormThrough(f); reset != 0 {
		w.t.Errorf("%d clients were reset", reset)
	}
}

// stormThrough is stormWhile for f that shuts listeners, and tells how many
// clients were reset: the kernel looks whether a listener listens, and then queues
// the connection there; of one that is shut in between it resets the connection
// (docs/RELIABILITY.md). Descriptors are few: of many connections most close at
// once.
func (w *world) stormThrough(f func()) (reset int) {
	w.t.Helper()
	over := make(chan struct{})
	var storm sync.WaitGroup
	var resets atomic.Int64
	until := func(do func(n int)) {
		storm.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-over:
					return
				default:
					do(n)
				}
			}
		})
	}
	for range 2 {
		until(func(n int) {
			ends, err := w.try(1)
			if errors.Is(err, unix.ECONNRESET) {
				resets.Add(1)
			} else if err != nil {
				w.t.Error(err)
			}
			for _, e := range ends {
				if n%4 == 0 || n > 100 {
					e.close()
				}
			}
		})
	}
	until(func(n int) {
		for _, worker := range w.workers {
			e, err := worker.accept()
			switch {
			case errors.Is(err, unix.EINVAL): // it doesn't listen at the moment
			case err != nil:
				w.t.Error(err)
			case e != nil && (n%3 == 0 || n > 100):
				e.close()
			}
		}
		time.Sleep(time.Millisecond)
	})
	f()
	close(over)
	storm.Wait()
	return int(resets.Load())
}
