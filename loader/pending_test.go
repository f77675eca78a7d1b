package loader

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/internal/packets"
)

const epoch = epochSeconds * time.Second

// pendings is the pending picks of each slot.
func (w *world) pendings() []int {
	var pending []int
	for _, s := range w.snapshot().Slots {
		pending = append(pending, int(s.Pending))
	}
	return pending
}

// expired waits until no pick is pending. It takes no pick to tell.
func (w *world) expired() {
	w.t.Helper()
	w.eventually("handshakes expire", func() error {
		if p := w.pendings(); sum(p) != 0 {
			return fmt.Errorf("pending picks are %v", p)
		}
		return nil
	})
}

// even fails the test unless all slots have n connections, and nothing pending.
func (w *world) even(what string, n int) {
	w.t.Helper()
	if shares := w.shares(); slices.Min(shares) != n || slices.Max(shares) != n || sum(w.pendings()) != 0 {
		w.t.Errorf("%s: slots have %v connections, want %d each; pending %v", what, shares, n, w.pendings())
	}
}

// raw is a world, and a peer that shakes hands with it by hand.
func raw(t *testing.T, slots int) (*world, *packets.Peer, netip.AddrPort) {
	t.Helper()
	ns := netns.New(t)
	peer := packets.NewPeer(t, ns)
	w := newWorld(t, slots, Least, in(ns), at("0.0.0.0", "127.0.0.1"))
	return w, peer, netip.AddrPortFrom(peer.Server4(), w.server.Port())
}

func TestPendingThroughAHandshake(t *testing.T) {
	t.Parallel()
	w, peer, server := raw(t, 8)
	w.connect(8)
	w.even("before", 1)
	began := time.Now()
	half, err := peer.SYNs(server, 16)
	w.must(err)
	spread := w.pendings()
	for _, h := range half {
		w.must(h.SYNACK(patience))
	}
	for _, h := range half[:8] {
		w.must(h.ACK())
	}
	for _, h := range half[8:12] {
		w.must(h.RST())
	}
	left := w.pendings()
	if time.Since(began) < epoch {
		// Later, some may have expired.
		if slices.Min(spread) != 2 || slices.Max(spread) != 2 {
			t.Errorf("after two SYNs a slot: pending %v", spread)
		}
		if sum(left) != 8 {
			t.Errorf("after half of the ACKs: pending %v, want 8 in all", left)
		}
	}
	if got := sum(w.shares()); got != 16 {
		t.Errorf("after 8 connections and 8 ACKs: %d are counted", got)
	}
	w.expired()
	for _, h := range half[12:] {
		w.must(h.ACK())
	}
	w.connect(80 - 20)
	w.even("after four late ACKs", 10)
	time.Sleep(2 * epoch)
	w.connect(8)
	w.even("two epochs later", 11)
}

func TestHalfOpenFloodLeavesNoBias(t *testing.T) {
	t.Parallel()
	w, peer, server := raw(t, 8)
	began := time.Now()
	_, err := peer.SYNs(server, 1000)
	w.must(err)
	if p := w.pendings(); time.Since(began) < epoch && (slices.Min(p) != 125 || slices.Max(p) != 125) {
		t.Errorf("after 1,000 SYNs: pending %v", p)
	}
	w.expired()
	w.connect(80)
	w.even("after the flood", 10)
}

func TestTrafficDuringAFlood(t *testing.T) {
	t.Parallel()
	w, peer, server := raw(t, 8)
	var flood error
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			if _, flood = peer.SYNs(server, 10); flood != nil {
				return
			}
		}
	}()
	for began := time.Now(); time.Since(began) < 3*epoch; time.Sleep(20 * time.Millisecond) {
		w.connect(1)
	}
	close(stop)
	<-stopped
	w.must(flood)
	if shares := w.shares(); slices.Min(shares) == 0 {
		t.Errorf("a slot got nothing while the flood lasted: %v", shares)
	}
	w.agree("after the flood")
	w.expired()
	shares := w.shares()
	most := slices.Max(shares)
	w.connect(8*most - sum(shares))
	w.even("evened out", most)
}

// A burst that arrives before any of its handshakes ends must spread.
func TestBurstSpreads(t *testing.T) {
	t.Parallel()
	client, server := netns.New(t), netns.New(t)
	link := packets.NewDelay(t, server, client, 200*time.Millisecond)
	w := newWorld(t, 8, Least, in(server), at("0.0.0.0", link.A4().String()))
	var fds []int
	w.must(client.Do(func() error {
		for range 256 {
			fd, err := clientSocket(w.server.Addr(), func(fd int) error { return unix.SetNonblock(fd, true) })
			if err != nil {
				return err
			}
			fds = append(fds, fd)
			if err := unix.Connect(fd, sockaddr(w.server)); err != unix.EINPROGRESS {
				return fmt.Errorf("connect: %v", err)
			}
		}
		return nil
	}))
	for _, fd := range fds {
		w.must(connected(fd))
		e, err := newEnd(fd)
		w.must(err)
		w.clients = append(w.clients, e)
	}
	w.eventually("all arrive", func() error {
		if n := sum(w.shares()); n != 256 {
			return fmt.Errorf("%d of 256 are counted", n)
		}
		return nil
	})
	if shares := w.shares(); slices.Min(shares) < 31 || slices.Max(shares) > 33 {
		t.Errorf("a burst of 256 went %v", shares)
	}
	w.agree("a burst")
}

// Connections that came while all slots were drained leave no bias either.
func TestBurstAfterDrain(t *testing.T) {
	t.Parallel()
	w, peer, server := raw(t, 8)
	for slot := range 8 {
		w.must(w.group.Drain(slot))
	}
	w.connect(80)
	for slot := range 8 {
		w.must(w.group.Undrain(slot))
	}
	most := slices.Max(w.shares())
	began := time.Now()
	_, err := peer.SYNs(server, 8*most-80)
	w.must(err)
	shares, pending := w.shares(), w.pendings()
	for i := range shares {
		shares[i] += pending[i]
	}
	if time.Since(began) < epoch && slices.Min(shares) != most {
		t.Errorf("a burst went %v, on top of %v connections", pending, w.shares())
	}
}
