package main_test

import (
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/ledger"
)

// campaign is how much a test under load asks for.
type campaign struct {
	rate  float64 // connections a second, IPv4 and IPv6 together
	turns int     // of the fault
	each  time.Duration
}

// crashes: SOCKDIST_LONG=1 has twenty in a minute at 2,000 connections/s.
func crashes() campaign {
	switch {
	case long():
		return campaign{rate: 2000, turns: 20, each: 2500 * time.Millisecond}
	case testing.Short():
		return campaign{rate: 400, turns: 2, each: time.Second}
	}
	return campaign{rate: 500, turns: 3, each: time.Second}
}

// SIGKILL of one of four workers, again and again under load: the only losses
// are connections that the killed worker had accepted. What was in its accept
// queue and in handshake is served by others. After each the counts are exact.
func TestLedgerCrash(t *testing.T) {
	together(t)
	eachServer(t, func(t *testing.T, server ledger.Server) {
		flags("--log plain").startBooked(t, server, 4).crash(0)
	})
}

// The same with workers that stop for a moment before they are killed, so that
// many connections wait in their queues and in handshake.
func TestLedgerCrashWithQueue(t *testing.T) {
	together(t)
	oneServer(t, ledger.Node, func(t *testing.T, server ledger.Server) {
		b := flags("--log plain --policy rr").startBooked(t, server, 4)
		b.crash(200 * time.Millisecond)
		if moved := b.group(b.port).Migrated; moved == 0 {
			t.Error("no connection has moved")
		}
	})
}

// crash kills workers under load, each stopped for a while before.
func (b *booked) crash(stopped time.Duration) {
	b.t.Helper()
	c := crashes()
	b.hold(20, ledger.Held{})
	for range c.turns {
		load := b.load(c.rate, ledger.Held{})
		begin := time.Now()
		// At any moment of the first half.
		time.Sleep(c.each/10 + time.Duration(b.random.Int64N(int64(c.each)*4/10)))
		b.kill(stopped)
		time.Sleep(time.Until(begin.Add(c.each)))
		b.finish(load)
		b.expectExact()
	}
	book, report := b.settle()
	b.expectOnlyKilledLost(book)
	if report.Unopened > 0 {
		b.t.Errorf("the client could not open %d connections: %s", report.Unopened, report.UnopenedReason)
	}
	b.t.Logf("%d kills: %d lost, %d of them in the hands of the killed; %d connections moved",
		len(b.kills), report.Lost(), report.Balance.InHands, b.group(b.port).Migrated)
	b.expectNoneRefused()
}
