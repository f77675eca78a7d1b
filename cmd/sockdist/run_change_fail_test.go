package main_test

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/servers"
)

// A new version that doesn't get ready, for whatever reason, is stopped; reload
// and scale say why and fail, and the old workers serve on.
func TestReloadToWorkersThatDoNotGetReady(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	for name, c := range map[string]struct {
		flags, next string
		says        []string
	}{
		"fails": {"", "-fail", []string{
			"doesn't get ready: it exited with status 1", "reading the configuration", "no configuration: giving up"}},
		// Those that do get ready, in the end, need some of that time on a busy machine.
		"never listens": {"--ready-timeout 3s", "-slow 1h", []string{"doesn't get ready: it doesn't listen", "within 3s"}},
		"is sick":       {"--ready /health --ready-timeout 3s", "-status 503", []string{"doesn't answer --ready", "503"}},
		"doesn't answer": {"--ready http://example.com/health --ready-timeout 3s", "-delay 1h", []string{
			"doesn't answer --ready", "within 3s"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := flags(c.flags).startChangeable(t)
			before := a.pids(a.port)
			held := a.hold(4)
			load := startTraffic(t, clients.Client{}, local(a.port))
			a.next(c.next)
			for _, change := range [][]string{{"reload", a.name}, {"reload", "--all-at-once", a.name}, {"scale", a.name, "3"}} {
				expectSaid(t, a.refused(1, change...), append(c.says, change[0]+" "+a.name)...)
				expectKept(t, before, a.settled(a.port, 2))
			}
			a.next("")
			a.verb("reload", a.name) // the old ones serve until held connections end
			held.Close()
			expectReplaced(t, before, a.settled(a.port, 2))
			load.expectAnswered()
		})
	}
}

// Where one of several new workers fails, a reload of all at once leaves as many
// workers as there were, and none of the new version.
func TestReloadAllAtOnceFailsInPart(t *testing.T) {
	t.Parallel()
	a := setup{flags: []string{"--ready-timeout", "20s"}}.startChangeable(t)
	before := a.pids(a.port)
	load := startTraffic(t, clients.Client{}, local(a.port))
	a.next("-slow 2s")
	reload := a.start("reload", "--all-at-once", a.name)
	victim := 0
	until(t, "two new workers wait", func() bool {
		for slot, pids := range a.workers() {
			if slot == "3" && len(pids) > 0 {
				victim = pids[0]
			}
		}
		return victim != 0
	})
	killProcess(t, victim)
	if code := reload.wait(); code != 1 {
		t.Errorf("reload: exit code %d, want 1", code)
	}
	expectSaid(t, reload.errs, "worker 3", "SIGKILL")
	expectKept(t, before, a.settled(a.port, 2))
	load.expectAnswered()
}

// A new worker listens on a second port later than on the first: only then the
// old one goes, and nobody is refused at either.
func TestReloadSecondPortIsLate(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	second := servers.FreePort(t, nil)
	a := setup{}.startChangeable(t, "-listen", fmt.Sprint(":", second), "-later", "1s")
	a.serves(second, 2)
	before := a.settled(second, 2)
	loads := []*traffic{startTraffic(t, clients.Client{}, local(a.port)), startTraffic(t, clients.Client{}, local(second))}
	a.verb("reload", a.name)
	expectReplaced(t, before, a.settled(second, 2))
	expectReplaced(t, before, a.settled(a.port, 2))
	for _, load := range loads {
		load.expectAnswered()
	}
}

// An old worker that ignores SIGTERM is killed, when it has no connection left.
func TestReloadFromDeafWorkers(t *testing.T) {
	t.Parallel()
	a := setup{}.startChangeable(t, "-deaf")
	before := a.pids(a.port)
	load := startTraffic(t, clients.Client{}, local(a.port))
	a.verb("reload", "--all-at-once", a.name)
	a.says("doesn't end within 10s of SIGTERM: killed")
	expectReplaced(t, before, a.settled(a.port, 2))
	load.expectAnswered()
}

// Old workers with connections have the time of --grace, and no more.
func TestReloadGrace(t *testing.T) {
	t.Parallel()
	a := flags("--grace 1s").startChangeable(t)
	before := a.pids(a.port)
	held := a.hold(20)
	load := startTraffic(t, clients.Client{}, local(a.port))
	begin := time.Now() // of no grace yet
	a.verb("reload", a.name)
	if ledger := held.Ask(); len(ledger.Lost()) > 0 && time.Since(begin) < time.Second {
		t.Errorf("within the grace: %v", ledger)
	}
	a.says("still has connections after 1s: it is ended")
	expectReplaced(t, before, a.settled(a.port, 2))
	if lost := held.Ask().Lost(); len(lost) != len(held) {
		t.Errorf("of %d connections of ended workers %d are lost", len(held), len(lost))
	}
	load.expectAnswered()
}

// SIGHUP reloads.
func TestReloadBySignal(t *testing.T) {
	t.Parallel()
	a := setup{}.startChangeable(t)
	before := a.pids(a.port)
	load := startTraffic(t, clients.Client{}, local(a.port))
	a.signal(unix.SIGHUP)
	until(t, "all workers are others", func() bool {
		for slot, pid := range a.pids(a.port) {
			if before[slot] == pid {
				return false
			}
		}
		return true
	})
	expectReplaced(t, before, a.settled(a.port, 2))
	load.expectAnswered()
}

// One change waits for another, and both happen.
func TestChangesAtTheSameTime(t *testing.T) {
	t.Parallel()
	a := setup{}.startChangeable(t)
	before := a.pids(a.port)
	load := startTraffic(t, clients.Client{}, local(a.port))
	a.next("-slow 1s")
	first := a.start("reload", a.name)
	a.says("reload: worker 2 starts")
	others := []*later{a.start("reload", "--all-at-once", a.name), a.start("scale", a.name, "4")}
	a.says("waiting for the end of another change")
	for _, v := range append(others, first) {
		if code := v.wait(); code != 0 {
			t.Errorf("exit code %d\n%s", code, v.errs)
		}
	}
	expectReplaced(t, before, a.settled(a.port, 4))
	load.expectAnswered()
}

// The end of the app is the end of a reload too, also of new workers.
func TestStopDuringReload(t *testing.T) {
	t.Parallel()
	a := setup{}.startChangeable(t)
	a.next("-slow 1h")
	reload := a.start("reload", a.name)
	a.says("reload: worker 2 starts")
	waits := a.start("scale", a.name, "3")
	a.says("scale: waiting for the end of another change")
	a.verb("stop", a.name)
	if code := a.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, v := range []*later{reload, waits} {
		if code := v.wait(); code != 1 {
			t.Errorf("exit code %d, want 1", code)
		}
		expectSaid(t, v.errs, "the app is ending")
	}
}

// There are 256 slots. A reload that needs more says so, and changes nothing.
func TestReloadWithoutSlots(t *testing.T) {
	if !long() {
		t.Skip("needs 129 workers: set SOCKDIST_LONG=1")
	}
	t.Parallel()
	a := setup{}.startChangeable(t)
	a.verb("scale", a.name, "129")
	before := a.settled(a.port, 129)
	load := startTraffic(t, clients.Client{}, local(a.port))
	expectSaid(t, a.refused(1, "reload", "--all-at-once", a.name), "slots")
	expectKept(t, before, a.settled(a.port, 129))
	a.verb("scale", a.name, "2")
	a.settled(a.port, 2)
	load.expectAnswered()
}

// Whoever asks for nonsense hears so in a line.
func TestChangesThatCanNotBe(t *testing.T) {
	t.Parallel()
	a := setup{}.startChangeable(t)
	for _, c := range []struct {
		code int
		args []string
		says string
	}{
		{2, []string{"scale", a.name, "0"}, "must be 1 to 256"},
		{2, []string{"scale", a.name, "257"}, "must be 1 to 256"},
		{2, []string{"scale", a.name, "many"}, "must be 1 to 256"},
		{2, []string{"scale", a.name}, ""},
		{2, []string{"reload"}, ""},
		{1, []string{"reload", "nobody"}, "nobody"},
		{1, []string{"scale", "nobody", "2"}, "nobody"},
		{1, []string{"stop", "nobody"}, "nobody"},
		{1, []string{"reload", fmt.Sprint(a.name, "-", a.port)}, "is no app of sockdist run"},
	} {
		expectSaid(t, a.refused(c.code, c.args...), c.says)
	}
	a.verb("scale", a.name, "2") // which there are
	a.settled(a.port, 2)
}
