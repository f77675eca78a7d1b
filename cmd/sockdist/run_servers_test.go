package main_test

import (
	"testing"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/servers"
)

// Real servers, unmodified, four workers each.
func TestRunServers(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	for _, server := range servers.Single() {
		t.Run(server.String(), func(t *testing.T) {
			t.Parallel()
			port := servers.FreePort(t, nil)
			// A worker that is stopped must get a queue before it is found to hang.
			a := flags("-n 4 --hang-after 10s").start(t, server.Command(t, port)...).serves(port, 4)
			parallel, queue := 8, 10
			if server.String() == servers.Python.String() {
				parallel, queue = 2, 4 // it lets only five wait
			}
			s := sharing{a, port, parallel}
			t.Run("even", func(t *testing.T) { s.on(t).even() })
			t.Run("drain", func(t *testing.T) { s.on(t).drain() })
			t.Run("kill", func(t *testing.T) { s.on(t).kill(queue) })
			a.signal(15)
			if code := a.exit(); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// sharing is an app with four workers at a port.
type sharing struct {
	*app
	port     int
	parallel int // connections that can be opened at once
}

// on has the checks fail a subtest.
func (s sharing) on(t testing.TB) sharing {
	a := *s.app
	a.t = t
	s.app = &a
	return s
}

func (s sharing) hold(n int) clients.Held {
	s.t.Helper()
	return clients.Client{}.Hold(s.t, local(s.port), n, s.parallel)
}

// reset ends connections at once and waits until that is known.
func (s sharing) reset(all ...clients.Held) {
	s.t.Helper()
	for _, held := range all {
		held.Reset()
	}
	s.idle(s.port)
}

func (s sharing) even() {
	s.idle(s.port)
	held := s.hold(400)
	s.expectEven(s.port, held)
	if ledger := held.Ask(); len(ledger.Lost()) > 0 {
		s.t.Errorf("asked again: %v", ledger)
	}
	s.reset(held)
}

// drain drains slot 1 while others go on.
func (s sharing) drain() {
	s.idle(s.port)
	drained := s.slot(s.port, 1).PID
	before := s.hold(40)
	s.expectEven(s.port, before)

	s.verb("drain", s.name+"/1")
	if state := s.slot(s.port, 1).State.String(); state != "draining" {
		s.t.Errorf("the drained slot is %s", state)
	}
	during := s.hold(60)
	if n := during.PIDs()[drained]; n != 0 {
		s.t.Errorf("%d new connections for the drained worker", n)
	}
	if ledger := before.Ask(); len(ledger.Lost()) > 0 {
		s.t.Errorf("older connections: %v", ledger)
	}
	if n := before.PIDs()[drained]; n != 10 {
		s.t.Errorf("%d older connections answered by the drained worker, want 10", n)
	}

	s.verb("undrain", s.name+"/1")
	after := s.hold(20) // the others have 30 each
	if n := after.PIDs()[drained]; n != 20 {
		s.t.Errorf("after the drain %d of 20 connections for the worker that has fewest", n)
	}
	s.expectEven(s.port, append(append(append(clients.Held{}, before...), during...), after...))
	s.reset(before, during, after)
}

// kill kills the worker in slot 2 under load.
func (s sharing) kill(queue int) {
	const kept = 3
	s.idle(s.port)
	before := s.group(s.port)
	held := s.hold(4 * (2*queue + kept))
	theirs, others := of(s.slot(s.port, 2).PID, held)
	load := startTraffic(s.t, clients.Client{}, local(s.port))
	s.goesOn(s.port)
	still := s.stop(s.port, 2, queue, theirs[kept:])
	still.kill(s.t)

	until(s.t, "the worker is back in its slot", func() bool {
		again := s.slot(s.port, 2)
		return again.PID != still.pid && again.State.String() == "live"
	})
	s.goesOn(s.port)
	load.expectSaved(still)
	if lost := theirs[:kept].Ask().Lost(); len(lost) != kept {
		s.t.Errorf("of %d connections that the killed worker had accepted, %d are lost", kept, len(lost))
	}
	if ledger := others.Ask(); len(ledger.Lost()) > 0 {
		s.t.Errorf("connections of the other workers: %v", ledger)
	}
	after := s.group(s.port)
	if moved := after.Migrated - before.Migrated; moved < uint64(queue) || after.MigrateFailed != 0 {
		s.t.Errorf("%d connections moved to other workers and %d moves failed, want at least %d and 0", moved, after.MigrateFailed, queue)
	}

	s.reset(held)
	again := s.hold(40)
	s.expectEven(s.port, again)
	if n := again.PIDs()[s.slot(s.port, 2).PID]; n != 10 {
		s.t.Errorf("%d connections for the worker that came back, want 10", n)
	}
	s.reset(again)
}
