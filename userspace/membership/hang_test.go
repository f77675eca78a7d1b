package membership

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/ledger"
	"github.com/sockdist/sockdist/internal/transcript"
	"github.com/sockdist/sockdist/loader"
)

func (w *world) held(slot int) loader.Hold { return w.slot(slot).Hold }

func slotOf(c *child, w *world) int {
	w.t.Helper()
	for _, s := range w.snapshot().Slots {
		if s.PID == c.pid() {
			return s.Slot
		}
	}
	w.t.Fatalf("process %d has no slot", c.pid())
	return -1
}

// A worker that is stopped under load is ejected, others serve its queue, and it
// comes back by itself.
func TestStoppedWorker(t *testing.T) {
	for name, args := range map[string][]string{"heartbeat": {"-beat", "50ms"}, "no heartbeat": nil} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *Config) { c.HangAfter = 500 * time.Millisecond })
			workers := w.workers(4, args...)
			run := w.load(ledger.Load{Rate: 200})
			w.until("some are answered", func() bool { return run.Progress().Answered > 100 })
			for range 2 {
				slot := slotOf(workers[1], w)
				workers[1].signal(unix.SIGSTOP)
				began := time.Now()
				w.until("it is ejected", func() bool { return w.held(slot) == loader.HoldHang })
				t.Logf("ejected after %v", time.Since(began).Round(time.Millisecond))
				before := run.Progress().Answered
				w.until("others go on", func() bool { return run.Progress().Answered > before+200 })
				if p := w.slot(slot); p.State != loader.Live {
					t.Errorf("its slot: %+v", p)
				}
				workers[1].signal(unix.SIGCONT)
				w.until("it comes back", func() bool { return w.held(slot) == 0 })
				picks := w.slot(slot).Picks
				w.until("it is picked again", func() bool { return w.slot(slot).Picks > picks+10 })
			}
			w.settle(run)
			w.agree(nil)
			for _, c := range workers {
				c.terminate()
			}
		})
	}
}

// A heartbeat that stands still is enough, without a single connection; who has
// none is idle, and not hung.
func TestStoppedWhileIdle(t *testing.T) {
	var said sayings
	w := newWorld(t, func(c *Config) { c.HangAfter = 500 * time.Millisecond; c.Logger = said.logger() })
	beating := w.workers(3, "-beat", "50ms")
	silent := w.worker()
	slot, other := slotOf(beating[0], w), slotOf(silent, w)
	silent.signal(unix.SIGSTOP)
	beating[0].signal(unix.SIGSTOP)
	w.until("it is ejected", func() bool { return w.held(slot) == loader.HoldHang })
	if h := w.held(other); h != 0 {
		t.Errorf("one that never had a heartbeat is held: %v", h)
	}
	beating[0].signal(unix.SIGCONT)
	w.until("it comes back", func() bool { return w.held(slot) == 0 })
	silent.signal(unix.SIGCONT)
	// Most of them: none is ejected, and somebody says so.
	for _, c := range beating {
		c.signal(unix.SIGSTOP)
	}
	w.until("it is said", func() bool { return strings.Contains(said.String(), "most of them") })
	for _, c := range beating {
		c.signal(unix.SIGCONT)
	}
	w.until("all are live", func() bool {
		for _, p := range w.progress() {
			if p.Hold != 0 {
				return false
			}
		}
		return true
	})
}

// One that hangs when its daemon is killed is readmitted by the next.
func TestEjectedBefore(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.HangAfter = 500 * time.Millisecond })
	workers := w.workers(3, "-beat", "50ms")
	slot := slotOf(workers[0], w)
	workers[0].signal(unix.SIGSTOP)
	w.until("it is ejected", func() bool { return w.held(slot) == loader.HoldHang })
	w.close()
	w.open()
	time.Sleep(time.Second)
	if h := w.held(slot); h != loader.HoldHang {
		t.Errorf("held %v by the next daemon", h)
	}
	workers[0].signal(unix.SIGCONT)
	w.until("it comes back", func() bool { return w.held(slot) == 0 })
	// Without a check nobody would readmit it.
	workers[0].signal(unix.SIGSTOP)
	w.until("it is ejected again", func() bool { return w.held(slot) == loader.HoldHang })
	w.config.HangAfter = 0
	w.must(w.group.Change(w.config))
	w.until("it is pardoned", func() bool { return w.held(slot) == 0 })
	workers[0].signal(unix.SIGCONT)
}

// A worker that accepts nothing though its heart beats is ejected by its queue,
// which others get.
func TestAcceptsNothing(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.HangAfter = 300 * time.Millisecond })
	deaf := w.worker("-deaf", "-beat", "50ms")
	w.workers(3, "-beat", "50ms")
	slot := slotOf(deaf, w)
	got := clients.Load(t.Context(), w.config.Listen, clients.Limits{Count: 40, Concurrency: 20})
	if lost := got.Lost(); len(lost) > 0 || got.PIDs()[deaf.pid()] != 0 {
		t.Errorf("%v", got)
	}
	w.until("it is ejected", func() bool { return w.held(slot) == loader.HoldHang })
	time.Sleep(time.Second)
	if h := w.held(slot); h != loader.HoldHang {
		t.Errorf("held %v though it accepts nothing", h)
	}
}

// Who accepts now and then is slow, and who has nothing to do is idle: neither hangs.
func TestSlowOrIdle(t *testing.T) {
	var said sayings
	w := newWorld(t, func(c *Config) { c.HangAfter = 2 * time.Second; c.Logger = said.logger() })
	w.workers(2, "-slow", "200ms")
	w.workers(2, "-slow", "200ms", "-beat", "100ms")
	time.Sleep(5 * time.Second)
	run := w.load(ledger.Load{Rate: 60, Timeout: patience})
	w.until("many wait", func() bool { return run.Progress().Open > 100 })
	time.Sleep(5 * time.Second)
	w.settle(run)
	if strings.Contains(said.String(), "hangs") || strings.Contains(said.String(), "no progress") {
		t.Error(said.String())
	}
}

// sayings are what a group has said.
type sayings struct{ transcript.Text }

func (l *sayings) logger() *slog.Logger { return slog.New(slog.NewTextHandler(&l.Text, nil)) }
