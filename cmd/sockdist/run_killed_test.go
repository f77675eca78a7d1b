package main_test

import (
	"fmt"
	"testing"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/servers"
)

// A kill -9 of sockdist itself under load: nobody notices, and the kernel goes
// on without it.
func TestRunIsKilled(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	for name, command := range map[string]func(testing.TB, int) []string{
		"node": servers.Node.Command,
		// Its prints would be its end if sockdist alone read them.
		"chatty": func(_ testing.TB, port int) []string {
			return []string{"worker", "-chatty", "-delay=20ms", "-listen", fmt.Sprint(":", port)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := servers.FreePort(t, nil)
			a := flags("-n 4").start(t, command(t, port)...).serves(port, 4)
			s := sharing{a, port, 8}
			load := startTraffic(t, clients.Client{}, local(port))
			s.goesOn(port)
			s.app.kill()
			s.goesOn(port)
			load.expectAnswered()
			s.idle(port)

			s.even()
			s.drain() // no verb needs it
			s.killUnsupervised()
			s.runAgain(command(t, port)).even()
		})
	}
}

// killUnsupervised kills a worker under load that nobody starts again.
func (s sharing) killUnsupervised() {
	held := s.hold(4 * 20)
	theirs, others := of(s.slot(s.port, 3).PID, held)
	load := startTraffic(s.t, clients.Client{}, local(s.port))
	still := s.stop(s.port, 3, 10, theirs)
	still.kill(s.t)
	s.goesOn(s.port)
	load.expectSaved(still)
	if ledger := others.Ask(); len(ledger.Lost()) > 0 {
		s.t.Errorf("connections of the other workers: %v", ledger)
	}
	s.isIn(s.port, 3, "gone")
	s.reset(held)

	three := s.hold(300)
	s.expectEven(s.port, three)
	s.reset(three)
}

// runAgain starts the app again under the same name. It takes over the three
// workers that are left, with their connections, and starts the fourth.
func (s sharing) runAgain(command []string) sharing {
	s.t.Helper()
	held := s.hold(30)
	before := s.pids(s.port)
	delete(before, 3) // it died, and its slot is gone
	same := flags("-n 4")
	same.again = s.app
	again := sharing{same.start(s.t, command...).serves(s.port, 4), s.port, s.parallel}
	again.expectLive(s.port, 4)
	for slot, pid := range before {
		if now := again.slot(s.port, slot).PID; now != pid {
			s.t.Errorf("slot %d has process %d, want %d, which it had", slot, now, pid)
		}
	}
	if ledger := held.Ask(); len(ledger.Lost()) > 0 {
		s.t.Errorf("connections of before: %v", ledger)
	}
	again.reset(held)
	return again
}
