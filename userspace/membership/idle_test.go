package membership

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/clients"
)

// A group in which nothing happens needs no look, whether its workers' hearts beat
// or not. A connection that waits, and a heart that stands still, do.
func TestIdleGroupIsNotLookedAt(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.HangAfter = time.Hour })
	silent := w.worker()
	beating := w.worker("-beat", "50ms")
	g := &guard{group: w.group}
	g.begin()
	defer g.forgetAll()
	sleeps := func() {
		t.Helper()
		w.until("it sleeps", func() bool {
			if g.look() {
				time.Sleep(100 * time.Millisecond)
				return false
			}
			g.glance() // of what that look has seen
			for range 10 {
				time.Sleep(200 * time.Millisecond)
				if g.glance() {
					return false
				}
			}
			return true
		})
	}
	wakes := func(why string) {
		t.Helper()
		w.until("a glance that sees "+why, func() bool { time.Sleep(200 * time.Millisecond); return g.glance() })
		w.until("looks at "+why, g.look)
		for range 5 {
			time.Sleep(100 * time.Millisecond)
			if !g.look() {
				t.Errorf("it sleeps in spite of %s", why)
			}
		}
	}
	sleeps()
	silent.signal(unix.SIGSTOP)
	w.must(w.group.kernel.Drain(slotOf(beating, w)))
	sleeps() // nobody waits
	waits := make(chan clients.Ledger, 1)
	go func() { waits <- clients.Load(t.Context(), w.config.Listen, clients.Limits{Count: 1}) }()
	wakes("a connection that waits")
	silent.signal(unix.SIGCONT)
	if lost := (<-waits).Lost(); len(lost) > 0 {
		t.Errorf("lost: %v", lost)
	}
	w.must(w.group.kernel.Undrain(slotOf(beating, w)))
	sleeps()
	beating.signal(unix.SIGSTOP)
	wakes("a heart that stands still")
	beating.signal(unix.SIGCONT)
	sleeps()
}
