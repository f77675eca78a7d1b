package clients

import (
	"net/netip"
	"sync"
	"testing"
	"time"
)

// Held are connections that stay open until they are closed or their test ends.
// Any part of the slice can be asked or closed by itself: held[:100].Reset().
type Held []*Conn

// Hold opens n connections to server, one after the other, each only when the
// one before has been answered. It fails t if any isn't served.
func Hold(t testing.TB, server netip.AddrPort, n int) Held {
	t.Helper()
	return Client{}.Hold(t, server, n, 1)
}

// Hold opens n connections to server, parallel of them at once, and asks on
// each. It fails t if any isn't served.
func (c Client) Hold(t testing.TB, server netip.AddrPort, n, parallel int) Held {
	t.Helper()

	held, ledger := c.hold(server, n, parallel)
	t.Cleanup(held.Close)
	if len(ledger.Lost()) > 0 {
		t.Fatalf("hold %d connections to %s: %v", n, server, ledger)
	}
	return held
}

// hold returns the connections that were served, and what became of all.
func (c Client) hold(server netip.AddrPort, n, parallel int) (Held, Ledger) {
	opened := make(Held, n)
	exchanges := make(Ledger, n)
	each(n, parallel, func(i int) {
		opened[i], exchanges[i] = c.exchange(server)
	})
	var held Held
	for i, conn := range opened {
		if exchanges[i].Outcome == Answered {
			held = append(held, conn)
		} else if conn.file != nil {
			conn.Close()
		}
	}
	return held, exchanges
}

// Ask asks on every connection whether it is still served, all at once, and
// returns what became of it. A connection that was closed counts as Failed.
func (h Held) Ask() Ledger {
	ledger := make(Ledger, len(h))
	each(len(h), len(h), func(i int) {
		e := Exchange{Local: h[i].Local, Started: time.Now()}
		e.Connected = e.Started
		answer, err := h[i].Ask()
		ledger[i] = e.ended(answer, err)
	})
	return ledger
}

// PIDs counts the connections by the process that answered last; under 0 those
// whose server did not say.
func (h Held) PIDs() map[int]int {
	counts := make(map[int]int)
	for _, c := range h {
		counts[c.Answer.PID]++
	}
	return counts
}

// Slots counts the connections by the slot that answered last; under [Unknown]
// those whose server did not say.
func (h Held) Slots() map[int]int {
	counts := make(map[int]int)
	for _, c := range h {
		counts[c.Answer.Slot]++
	}
	return counts
}

// Close ends all connections with a FIN.
func (h Held) Close() {
	for _, c := range h {
		c.Close()
	}
}

// Reset ends all connections with a RST.
func (h Held) Reset() {
	for _, c := range h {
		c.Reset()
	}
}

// each calls f with 0 … n-1, parallel calls at once.
func each(n, parallel int, f func(i int)) {
	var running sync.WaitGroup
	places := make(chan struct{}, max(parallel, 1))
	for i := range n {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			f(i)
		})
	}
	running.Wait()
}
