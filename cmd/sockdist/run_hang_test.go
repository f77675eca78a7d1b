package main_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/ledger"
	"github.com/sockdist/sockdist/internal/servers"
)

// A stall is a way in which a worker hangs.
type stall struct {
	server ledger.Server
	kind   string // "stopped", or as LEDGER_HANG has it
}

func (s stall) String() string { return s.server.String() + " " + s.kind }

// busyFor bounds a busy loop, in ms. It ends when a test says so.
const busyFor = 2 * patience / time.Millisecond

// setup has connections come to the worker that hangs, too: it takes two to see
// that a server doesn't accept, and least would spare one that holds more than the others.
// A busy loop ends when there is a file over.
func (s stall) setup(line, over string) setup {
	with := flags("--log plain --policy rr " + line)
	with.env = []string{"LEDGER_HANG=" + s.kind, fmt.Sprintf("LEDGER_HANG_MS=%d", busyFor), "LEDGER_HANG_END=" + over}
	return with
}

func (s stall) begin(t testing.TB, pid int) {
	t.Helper()
	if s.kind == "stopped" {
		stopProcess(t, pid)
	} else if err := unix.Kill(pid, unix.SIGUSR2); err != nil {
		t.Fatal(err)
	}
}

func (s stall) end(t testing.TB, pid int, over string) {
	t.Helper()
	if s.kind == "stopped" {
		goOn(t, pid)
	} else if err := os.WriteFile(over, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func goOn(t testing.TB, pid int) {
	t.Helper()
	if err := unix.Kill(pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// isIn waits until a slot is in a state.
func (a *app) isIn(port, slot int, state string) {
	a.t.Helper()
	until(a.t, fmt.Sprintf("slot %d is %s", slot, state), func() bool { return a.slot(port, slot).State.String() == state })
}

// queueOf is how many connections wait at a slot.
func (a *app) queueOf(port, slot int) int {
	a.t.Helper()
	return backlog(a.t, port, a.slot(port, slot).Cookie)
}

// A worker that hangs under load gets no new connections, what waits for it is
// served by others, and when it goes on it has its slot again. Nobody loses a
// connection, not even those that it had accepted.
func TestHungWorkerIsEjectedAndComesBack(t *testing.T) {
	t.Parallel()
	for _, s := range []stall{
		{ledger.Node, "stopped"}, {ledger.Python, "stopped"}, {ledger.Go, "stopped"},
		{ledger.Node, "busy"}, {ledger.Python, "busy"}, {ledger.Go, "busy"},
	} {
		t.Run(s.String(), func(t *testing.T) {
			if !long() {
				t.Parallel()
			}
			over := filepath.Join(t.TempDir(), "over")
			b := s.setup("--hang-grace 1m", over).startBooked(t, s.server, 3)
			workers := b.changed(3)
			defer func() {
				if t.Failed() {
					t.Logf("%+v", b.group(b.port))
				}
			}()
			b.hold(10, ledger.Held{})
			load := b.load(200, ledger.Held{})
			b.goesOn(b.port)
			s.begin(t, workers[1])
			b.isIn(b.port, 1, "ejected")
			b.says(fmt.Sprintf("worker 1 (pid %d) hangs: ", workers[1]))
			if s.kind == "stopped" {
				until(t, "its queue is served by others, but for the one that waits for it to go on", func() bool { return b.queueOf(b.port, 1) <= 1 })
				before := b.slot(b.port, 1)
				b.goesOn(b.port)
				// Sockdist's own, by which it sees that the worker goes on, are none.
				after := b.slot(b.port, 1)
				if more := (after.Picks - after.Probed) - (before.Picks - before.Probed); more > 0 {
					t.Errorf("%d new connections for the worker that hangs", more)
				}
			}
			s.end(t, workers[1], over)
			b.isIn(b.port, 1, "live")
			b.says(fmt.Sprintf("worker 1 (pid %d) accepts again", workers[1]))
			before := b.slot(b.port, 1).Picks
			until(t, "it gets connections again", func() bool { return b.slot(b.port, 1).Picks > before })
			b.finish(load)
			expectKept(t, workers, b.changed(3))
			b.expectExact()
			b.expectNoneLost()
		})
	}
}

// One that doesn't go on is killed after the grace and started again. All that
// is lost is what it had accepted.
func TestHungWorkerIsRestarted(t *testing.T) {
	t.Parallel()
	for _, s := range []stall{{ledger.Node, "deadlock"}, {ledger.Python, "deadlock"}, {ledger.Go, "deadlock"}, {ledger.Node, "stopped"}} {
		t.Run(s.String(), func(t *testing.T) {
			if !long() {
				t.Parallel()
			}
			b := s.setup("--hang-grace 500ms", "").startBooked(t, s.server, 3)
			workers := b.changed(3)
			b.hold(10, ledger.Held{})
			load := b.load(200, ledger.Held{})
			b.goesOn(b.port)
			kill := ledger.Kill{PID: workers[1], Sent: ledger.Now()}
			s.begin(t, workers[1])
			b.says(fmt.Sprintf("worker 1 (pid %d) is killed: it hangs for ", workers[1]))
			until(t, "another process is in its slot", func() bool { return b.slot(b.port, 1).PID != workers[1] })
			kill.Dead = ledger.Now()
			b.kills = append(b.kills, kill)
			after := b.changed(3)
			delete(workers, 1)
			expectKept(t, workers, after)
			b.goesOn(b.port)
			b.finish(load)
			book, _ := b.settle()
			b.expectOnlyKilledLost(book)
		})
	}
}

// --on-hang eject kills nobody, --on-hang ignore ejects nobody, and says so; nor
// does --hang-after 0, which says nothing.
func TestOnHang(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	for line, c := range map[string]struct {
		state string
		says  bool
	}{
		"--on-hang eject --hang-grace 100ms":  {"ejected", true},
		"--on-hang ignore --hang-grace 100ms": {"live", true},
		"--hang-after 0":                      {"live", false},
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			port := servers.FreePort(t, nil)
			a := flags("-n 3 "+line).start(t, "worker", "-listen", fmt.Sprint(":", port)).serves(port, 3)
			before := a.settled(port, 3)
			stopProcess(t, before[1])
			load := startTraffic(t, clients.Client{Timeout: time.Minute}, local(port))
			if c.says {
				a.says("worker 1 (pid ")
				a.isIn(port, 1, c.state)
			}
			time.Sleep(time.Second)
			if said := strings.Contains(read(a.log), "hangs"); said != c.says {
				t.Errorf("it says that a worker hangs: %v, want %v", said, c.says)
			}
			if state := a.slot(port, 1).State.String(); state != c.state {
				t.Errorf("slot 1 is %s, want %s", state, c.state)
			}
			goOn(t, before[1])
			a.isIn(port, 1, "live")
			expectKept(t, before, a.settled(port, 3))
			load.expectAnswered()
		})
	}
}

// If most hang, those that are left are not to bear it all: it is said, and not
// more than half are ejected. All of them come back.
func TestMostWorkersHang(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	port := servers.FreePort(t, nil)
	a := flags("-n 4 --hang-grace 1m").start(t, "worker", "-listen", fmt.Sprint(":", port)).serves(port, 4)
	s := sharing{a, port, 40}
	before := a.settled(port, 4)
	for slot := range 3 {
		stopProcess(t, before[slot])
	}
	load := startTraffic(t, clients.Client{Timeout: time.Minute}, local(port))
	a.says("accept nothing, which is most of them: none is ejected")
	time.Sleep(time.Second)
	ejected := 0
	for slot := range 4 {
		if s.slot(port, slot).State.String() == "ejected" {
			ejected++
		}
	}
	if ejected > 2 {
		t.Errorf("%d of 4 are ejected", ejected)
	}
	for slot := range 3 {
		goOn(t, before[slot])
	}
	expectKept(t, before, a.settled(port, 4))
	load.expectAnswered()
}

// Neither an idle worker hangs, nor one that was stopped while nobody wanted
// anything, nor one that is busy and still accepts.
func TestNoFalseAlarm(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		port := servers.FreePort(t, nil)
		a := flags("-n 2 --hang-after 200ms").start(t, "worker", "-listen", fmt.Sprint(":", port)).serves(port, 2)
		workers := a.settled(port, 2)
		held := clients.Hold(t, local(port), 10)
		stopProcess(t, workers[0])
		time.Sleep(2 * time.Second)
		goOn(t, workers[0])
		if ledger := held.Ask(); len(ledger.Lost()) > 0 {
			t.Error(ledger)
		}
		if text := read(a.log); strings.Contains(text, "hangs") {
			t.Errorf("a false alarm:\n%s", text)
		}
	})
	t.Run("busy", func(t *testing.T) {
		t.Parallel()
		command, err := ledger.Node.Install(t.TempDir())
		if err != nil {
			t.Skip(err)
		}
		port := servers.FreePort(t, nil)
		a := flags("-n 2").start(t, append(command, fmt.Sprint(port))...).serves(port, 2)
		// Each question blocks Node's only thread, and there always are others. Of
		// these a worker may take four or five at once, and accepts nothing until
		// all are answered: that has to be well below the 500 ms of a hang.
		var asking sync.WaitGroup
		for range 8 {
			asking.Go(func() {
				client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
				for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
					response, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/1.1?busy=70", port))
					if err != nil {
						t.Error(err)
						return
					}
					response.Body.Close()
				}
			})
		}
		asking.Wait()
		if text := read(a.log); strings.Contains(text, "hangs") {
			t.Errorf("a false alarm:\n%s", text)
		}
	})
}

// The next supervisor goes on with what one that was killed knew of a worker
// that hangs: it gets its slot back, or is restarted.
func TestSupervisorDiesWhileAWorkerHangs(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	for name, c := range map[string]struct {
		more      string
		goesOn    bool
		restarted bool
	}{
		"goes on":        {"--hang-grace 1m", true, false},
		"is restarted":   {"--hang-grace 1s", false, true},
		"nobody ejects":  {"--hang-after 0", false, false},
		"all is ignored": {"--on-hang ignore", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := servers.FreePort(t, nil)
			a := flags("-n 3 --hang-grace 1m").start(t, "worker", "-listen", fmt.Sprint(":", port)).serves(port, 3)
			before := a.settled(port, 3)
			stopProcess(t, before[1])
			load := startTraffic(t, clients.Client{Timeout: time.Minute}, local(port))
			a.isIn(port, 1, "ejected")
			a.goesOn(port)
			a.kill()
			a = a.startAgain(strings.Fields(c.more)...)
			a.says("took over 3 workers")
			a.goesOn(port)
			switch {
			case c.restarted:
				until(t, "another process is in its slot", func() bool { return a.slot(port, 1).PID != before[1] })
				a.settled(port, 3)
				load.finish()
				return
			case c.goesOn:
				goOn(t, before[1])
				a.isIn(port, 1, "live")
			default:
				a.isIn(port, 1, "live")
				goOn(t, before[1])
			}
			expectKept(t, before, a.settled(port, 3))
			load.expectAnswered()
		})
	}
}

// Workers that hang for a moment, again and again under load: the counts stay
// exact, and nobody loses a connection.
func TestWorkersHangAgainAndAgain(t *testing.T) {
	t.Parallel()
	turns := 8
	if long() {
		turns = 60
	}
	b := flags("--log plain --hang-after 50ms --hang-grace 1m").startBooked(t, ledger.Node, 3)
	workers := b.changed(3)
	b.hold(5, ledger.Held{})
	for turn := range turns {
		load := b.load(300, ledger.Held{})
		slot := turn % 3
		time.Sleep(time.Duration(b.random.Int64N(int64(100 * time.Millisecond))))
		stopProcess(t, workers[slot])
		b.isIn(b.port, slot, "ejected")
		time.Sleep(time.Duration(b.random.Int64N(int64(300 * time.Millisecond))))
		goOn(t, workers[slot])
		b.isIn(b.port, slot, "live")
		b.finish(load)
		b.expectExact()
	}
	expectKept(t, workers, b.changed(3))
	b.expectNoneLost()
}
