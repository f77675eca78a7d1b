package main_test

import (
	"testing"

	"github.com/sockdist/sockdist/internal/ledger"
)

// An app moves from sockdist run to the daemon, which keeps its workers, when
// its configuration says so and not before.
func TestServeTakesAnAppOver(t *testing.T) {
	t.Parallel()
	b := flags("--log plain").startBooked(t, ledger.Go, 3)
	b.hold(10, ledger.Held{})
	load := b.load(200, ledger.Held{})
	workers := b.changed(3)
	run := b.app

	s := newServed(t).recording(ledger.Go)
	s.booked = b
	s.configure("apps:\n", s.webSettings(3))
	s.start()
	s.says(s.name + " is supervised by another process")
	expectKept(t, workers, b.changed(3))
	s.configure("apps:\n", s.webSettings(3, "take-over: true"))
	s.applies()
	if code := run.exit(); code != 0 {
		t.Errorf("the supervisor that left: exit code %d", code)
	}
	s.says("took over 3 workers")
	expectKept(t, workers, b.changed(3))
	s.verb("reload", s.name)
	b.finish(load)
	b.finish(b.held)
	b.held = nil
	b.rests(3)
	expectReplaced(t, workers, b.changed(3))
	b.expectNoneLost()
}
