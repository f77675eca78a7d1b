package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/ledger"
)

// A worker that is stopped, or busy in a loop, is ejected, what waited for it is
// served by others, and it comes back by itself: nothing is lost.
func TestLedgerHang(t *testing.T) {
	together(t)
	eachServer(t, func(t *testing.T, server ledger.Server) {
		// With rr it gets as many connections as any other, as long as it is picked.
		s := flags("--log plain --policy rr --hang-after 300ms --on-hang eject")
		over := filepath.Join(t.TempDir(), "over") // ends a busy loop
		s.env = []string{"LEDGER_HANG=busy", fmt.Sprintf("LEDGER_HANG_MS=%d", busyFor), "LEDGER_HANG_END=" + over}
		b := s.startBooked(t, server, 4)
		c := crashes()
		b.hold(10, ledger.Held{})
		for turn := range min(c.turns, 6) {
			load := b.load(c.rate/2, ledger.Held{})
			victim := b.victim()
			begin := []unix.Signal{unix.SIGSTOP, unix.SIGUSR2}[turn%2]
			if err := unix.Kill(victim, begin); err != nil {
				t.Fatal(err)
			}
			b.becomes(victim, "ejected")
			b.goesOn(b.port)
			err1, err2 := unix.Kill(victim, unix.SIGCONT), os.WriteFile(over, nil, 0o600)
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			b.becomes(victim, "live")
			b.goesOn(b.port)
			if err := os.Remove(over); err != nil {
				t.Fatal(err)
			}
			b.finish(load)
			b.expectExact()
		}
		book, _ := b.settle()
		b.expectOnlyKilledLost(book) // none was
		b.expectNoneRefused()
	})
}

// A worker in a deadlock is ejected and, after a grace, killed and started
// again. It loses what it had accepted, and nothing else.
func TestLedgerDeadlock(t *testing.T) {
	together(t)
	oneServer(t, ledger.Go, func(t *testing.T, server ledger.Server) {
		s := flags("--log plain --policy rr --hang-after 300ms --hang-grace 500ms")
		s.env = []string{"LEDGER_HANG=deadlock"}
		b := s.startBooked(t, server, 4)
		c := crashes()
		b.hold(10, ledger.Held{})
		for range min(c.turns, 6) {
			load := b.load(c.rate/2, ledger.Held{})
			victim := b.victim()
			k := ledger.Kill{PID: victim, Sent: ledger.Now()}
			if err := unix.Kill(victim, unix.SIGUSR2); err != nil {
				t.Fatal(err)
			}
			b.replaced(victim)
			k.Dead = ledger.Now()
			b.kills = append(b.kills, k)
			b.goesOn(b.port)
			b.finish(load)
			b.expectExact()
		}
		book, report := b.settle()
		b.expectOnlyKilledLost(book)
		b.expectNoneRefused()
		if report.Balance.InHands > 0 {
			t.Errorf("%d connections were in the hands of workers that did nothing", report.Balance.InHands)
		}
	})
}

// Workers that are only slow, as too much is asked of them, look hung again and
// again: what waits for them wanders, and many clients give up meanwhile. The
// counts are exact when all is over.
func TestLedgerOverload(t *testing.T) {
	together(t)
	if !long() {
		t.Skip("it takes all of the machine: SOCKDIST_LONG=1 runs it")
	}
	b := flags("--log plain --policy rr --hang-after 60ms --on-hang eject").startBooked(t, ledger.Node, 8)
	load := b.load(4000, ledger.Held{}) // more than any of them can do: accept queues run over
	time.Sleep(15 * time.Second)
	b.finish(load)
	b.expectExact()
	_, report := b.settle()
	lost := report.Lost() - report.Columns[ledger.TimedOut].Connections
	t.Logf("%d connections moved, %d lost other than by waiting too long", b.group(b.port).Migrated, lost)
	if lost > 0 {
		t.Errorf("%d connections were lost other than by waiting too long", lost)
	}
	b.expectNoneRefused()
}

// becomes waits until a worker's slot has a state.
func (b *booked) becomes(pid int, state string) {
	b.t.Helper()
	until(b.t, "the worker's slot is "+state, func() bool {
		for _, s := range b.group(b.port).Slots {
			if s.PID == pid {
				return s.State.String() == state
			}
		}
		return false
	})
	time.Sleep(time.Duration(b.random.Int64N(int64(100 * time.Millisecond))))
}
