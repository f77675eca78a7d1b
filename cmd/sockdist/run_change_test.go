package main_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/ledger"
	"github.com/sockdist/sockdist/internal/servers"
	"github.com/sockdist/sockdist/loader"
)

// pids are the processes in the slots of a port, by slot.
func (a *app) pids(port int) map[int]int {
	a.t.Helper()
	pids := make(map[int]int)
	for _, slot := range a.group(port).Slots {
		pids[slot.Slot] = slot.PID
	}
	return pids
}

// settled waits until the app has exactly n slots at a port, all live: newcomers
// are ready, and who had to go is gone. It returns their processes.
func (a *app) settled(port, n int) map[int]int {
	a.t.Helper()
	var slots []loader.Slot
	until(a.t, fmt.Sprintf("%d live slots, and no other", n), func() bool {
		slots = a.group(port).Slots
		return len(slots) == n && !slices.ContainsFunc(slots, func(s loader.Slot) bool { return s.State.String() != "live" })
	})
	return a.pids(port)
}

// expectReplaced checks that no process of before has a slot.
func expectReplaced(t testing.TB, before, after map[int]int) {
	t.Helper()
	for slot, pid := range after {
		if slices.Contains(slices.Collect(maps.Values(before)), pid) {
			t.Errorf("after a reload slot %d still has process %d", slot, pid)
		}
	}
}

// expectKept checks that the processes of before have their slots still.
func expectKept(t testing.TB, before, after map[int]int) {
	t.Helper()
	for slot, pid := range before {
		if after[slot] != pid {
			t.Errorf("slot %d has process %d, want %d, which it had before", slot, after[slot], pid)
		}
	}
}

// refused runs a verb that must fail with an exit code, and returns what it said.
func (a *app) refused(code int, args ...string) string {
	a.t.Helper()
	out, errs, got := a.sockdistVerb(args...)
	if got != code {
		a.t.Errorf("sockdist %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, out, errs)
	}
	return errs
}

// expectSaid checks that a text has all of these.
func expectSaid(t testing.TB, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("it doesn't say %q:\n%s", want, text)
		}
	}
}

// later is a verb that goes on in the background.
type later struct {
	done chan struct{}
	out  string
	errs string
	code int
}

func (a *app) start(args ...string) *later {
	v := &later{done: make(chan struct{})}
	go func() {
		defer close(v.done)
		v.out, v.errs, v.code = a.sockdistVerb(args...)
	}()
	a.t.Cleanup(func() { <-v.done })
	return v
}

// wait returns the exit code.
func (v *later) wait() int {
	<-v.done
	return v.code
}

// changeable is an app of testdata/worker with two workers, whose next starts
// can have other flags.
type changeable struct {
	sharing
	more string // file
}

func (s setup) startChangeable(t testing.TB, args ...string) changeable {
	t.Helper()
	s.flags = append([]string{"-n", "2"}, s.flags...)
	return s.startChangeableWith(t, 2, args...)
}

// startChangeableWith has n workers, as the flags say.
func (s setup) startChangeableWith(t testing.TB, n int, args ...string) changeable {
	t.Helper()
	needPrograms(t)
	c := changeable{more: filepath.Join(t.TempDir(), "more")}
	port := servers.FreePort(t, nil)
	command := append([]string{"worker", "-more", c.more, "-listen", fmt.Sprint(":", port)}, args...)
	c.sharing = sharing{s.start(t, command...).serves(port, n), port, 8}
	c.app.settled(port, n)
	return c
}

// next sets the flags of workers that start from now on.
func (c changeable) next(flags string) {
	c.t.Helper()
	if err := os.WriteFile(c.more, []byte(flags), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// changes: SOCKDIST_LONG=1 has twenty reloads and twenty scale steps in a row at
// 2,000 connections/s, with 200 connections that live long.
type changes struct {
	rate  float64
	turns int
	held  int // for each of IPv4 and IPv6
	life  time.Duration
}

func changesUnderLoad() changes {
	switch {
	case long():
		return changes{rate: 2000, turns: 20, held: 100, life: 8 * time.Second}
	case testing.Short():
		return changes{rate: 200, turns: 1, held: 5, life: time.Second}
	}
	return changes{rate: 300, turns: 2, held: 10, life: 2 * time.Second}
}

// expectNoneLost settles the books: every connection was answered.
func (b *booked) expectNoneLost() {
	b.t.Helper()
	book, report := b.settle()
	for i, e := range book.Losses() {
		if i == 20 {
			b.t.Errorf("… and %d more", len(book.Losses())-i)
			break
		}
		b.t.Errorf("lost: %v, opened %v after the begin", e, e.Started.Sub(book.Begin))
	}
	if report.Unopened > 0 {
		b.t.Errorf("the client could not open %d connections: %s", report.Unopened, report.UnopenedReason)
	}
	if group := b.group(b.port); group.MigrateFailed > 0 || group.Refused > 0 || group.Fallback > 0 {
		b.t.Errorf("%d moves failed, %d connections were refused, %d left to the kernel's hash", group.MigrateFailed, group.Refused, group.Fallback)
	}
}

// changed waits for the end of a change, after which there are n workers.
func (b *booked) changed(n int) map[int]int {
	b.t.Helper()
	b.workers = n
	return b.settled(b.port, n)
}

// serving waits until n workers get connections, while others may finish what
// they have. It returns the processes of the n.
func (b *booked) serving(n int) map[int]int {
	b.t.Helper()
	b.workers = n
	b.live()
	pids := make(map[int]int)
	for _, slot := range b.group(b.port).Slots {
		if slot.State.String() == "live" {
			pids[slot.Slot] = slot.PID
		}
	}
	return pids
}

// Reloads and scale steps in a row under load cost no connection, neither a
// short one nor one that lives long.
func TestChangesUnderLoad(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, server ledger.Server) {
		c := changesUnderLoad()
		b := flags("--log plain").startBooked(t, server, 3)
		b.hold(c.held, ledger.Held{Life: c.life})
		load := b.load(c.rate, ledger.Held{})
		before := b.changed(3)
		for turn := range c.turns {
			reload := []string{"reload", b.name}
			if turn%2 == 1 {
				reload = append(reload, "--all-at-once")
			}
			b.verb(reload...)
			after := b.serving(b.workers)
			expectReplaced(t, before, after)

			n := []int{5, 2, 4, 3}[turn%4]
			b.verb("scale", b.name, fmt.Sprint(n))
			before = b.serving(n)
			if n > len(after) {
				expectKept(t, after, before)
			}
		}
		b.changed(b.workers)
		b.finish(load)
		b.expectNoneLost()
	})
}

// A server that takes its time to start is waited for, and the old one serves on.
func TestReloadSlowStart(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	knobs := filepath.Join(t.TempDir(), "knobs")
	s := flags("--log plain")
	s.env = []string{"LEDGER_KNOBS=" + knobs}
	b := s.startBooked(t, ledger.Node, 2)
	before := b.changed(2)
	if err := os.WriteFile(knobs, []byte("LEDGER_SLOW_START=3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	load := b.load(200, ledger.Held{})
	begin := time.Now()
	reload := b.start("reload", b.name, "--all-at-once")
	time.Sleep(time.Second)
	if n := len(b.group(b.port).Slots); n != 2 && time.Since(begin) < 3*time.Second {
		t.Errorf("%d slots while the new workers don't listen, want 2", n)
	}
	if code := reload.wait(); code != 0 {
		t.Errorf("reload: exit code %d\n%s", code, reload.errs)
	}
	expectReplaced(t, before, b.changed(2))
	b.finish(load)
	b.expectNoneLost()
}
