package main_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/servers"
)

// Twenty crashes of workers, all at once each time, leave nothing behind: no
// descriptor, process, cgroup, slot or count.
func TestRunWorkersCrash(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	port := servers.FreePort(t, nil)
	a := flags("-n 4").start(t, "worker", "-listen", fmt.Sprint(":", port)).serves(port, 4)
	s := sharing{a, port, 4}
	before := s.traces()
	for range 5 {
		held := s.hold(12)
		generations := s.generations()
		for slot := range 4 {
			killProcess(t, s.slot(port, slot).PID)
		}
		until(t, "all workers are back", func() bool {
			for slot, generation := range s.generations() {
				if generation == generations[slot] || s.slot(port, slot).State.String() != "live" {
					return false
				}
			}
			return true
		})
		s.reset(held)
	}
	// Descriptors of the last restart may have a moment to live, and so may those
	// of the start have had.
	until(t, fmt.Sprintf("nothing is left: no more than %+v, as before", before), func() bool { return s.traces().within(before) })
	s.expectLive(port, 4)
	s.even()
	if stale := s.group(port).Stale; stale != 0 {
		t.Logf("%d closes of connections of killed workers came late", stale)
	}
}

// A server that closes its listener and opens another keeps its slot and its
// connections, which count there, and costs nobody a connection.
func TestRunListenerIsOpenedAgain(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	port := servers.FreePort(t, nil)
	a := flags("-n 4").start(t, "worker", "-listen", fmt.Sprint(":", port)).serves(port, 4)
	s := sharing{a, port, 4}
	held := s.hold(40)
	load := startTraffic(t, clients.Client{}, local(port))
	for range 3 {
		s.goesOn(port)
		before := s.slot(port, 2)
		if err := unix.Kill(before.PID, unix.SIGUSR2); err != nil {
			t.Fatal(err)
		}
		until(t, "the worker's new listener has the slot", func() bool {
			now := s.slot(port, 2)
			return now.Cookie != before.Cookie && now.State.String() == "live"
		})
		s.goesOn(port)
	}
	load.expectAnswered()
	until(t, "only the connections that are held are left", func() bool { return s.connections(port) == len(held) })
	if ledger := held.Ask(); len(ledger.Lost()) > 0 {
		t.Errorf("connections that are held: %v", ledger)
	}
	s.expectEven(port, append(held, s.hold(40)...))
}

// A server behind a launcher, as with npm start: the launcher's death is the
// worker's, and leaves no server behind that nobody looks after.
func TestRunLauncher(t *testing.T) {
	t.Parallel()
	programs := needPrograms(t)
	port := servers.FreePort(t, nil)
	a := flags("-n 3").start(t, "sh", "-c", fmt.Sprintf("%s -listen :%d; exit 1", programs.worker, port)).serves(port, 3)
	s := sharing{a, port, 3}
	held := s.hold(60)
	s.expectEven(port, held)
	for slot, whose := range []string{"sh", "worker"} {
		before := s.slot(port, slot)
		theirs, others := of(before.PID, held)
		killProcess(t, a.workerNamed(slot, whose))
		until(t, "the worker is back", func() bool {
			now := s.slot(port, slot)
			return now.PID != before.PID && now.State.String() == "live"
		})
		if l := theirs.Ask(); len(l.Lost()) != len(theirs) {
			t.Errorf("connections of slot %d after the death of its %s: %v, want them lost", slot, whose, l)
		}
		held = append(others, s.hold(len(theirs))...)
		s.expectEven(port, held)
	}
	until(t, "the two workers are two processes each", func() bool { return len(a.workers()["0"]) == 2 && len(a.workers()["1"]) == 2 })
	a.signal(unix.SIGTERM)
	a.signal(unix.SIGINT)
	if code := a.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// workerNamed is the process in a slot's leaf that has this name.
func (a *app) workerNamed(slot int, name string) int {
	a.t.Helper()
	for _, pid := range a.workers()[fmt.Sprint(slot)] {
		if status(a.t, pid, "Name") == name {
			return pid
		}
	}
	a.t.Fatalf("no %s in slot %d: %v", name, slot, a.workers())
	return 0
}

// Workers killed at any moment, at full speed: whatever is lost had been
// accepted by a worker that was killed. Each kill may hit one connection between
// its accept and the line that tells of it.
func TestRunWorkersKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	const kills = 12
	port := servers.FreePort(t, nil)
	a := flags("-n 4 --log plain").start(t, "worker", "-accepts", "-listen", fmt.Sprint(":", port)).serves(port, 4)
	s := sharing{a, port, 4}
	load := startTrafficAt(t, clients.Client{}, local(port), 3000)
	for i := range kills {
		s.goesOn(port)
		before := s.slot(port, i%4)
		killProcess(t, before.PID)
		until(t, "the worker is back", func() bool { return s.slot(port, i%4).Generation != before.Generation })
	}
	ledger := load.finish()
	a.idle(port)

	for _, e := range ledger {
		if e.Outcome != clients.Answered && e.Outcome != clients.Reset {
			t.Errorf("%v", e)
		}
	}
	// Lines go through a process that may be behind the workers.
	untold := 0
	until(t, fmt.Sprintf("at most one connection a kill is accepted by nobody, of %v", ledger), func() bool {
		untold = a.untold(ledger)
		return untold <= kills
	})
	group := a.group(port)
	t.Logf("%d of %d connections lost in %d kills, %d of them accepted by nobody; %d moved", len(ledger.Lost()), len(ledger), kills, untold, group.Migrated)
	if group.MigrateFailed > 0 || group.Refused > 0 || group.Fallback > 0 {
		t.Errorf("%d moves failed, %d connections were refused, %d left to the kernel's hash", group.MigrateFailed, group.Refused, group.Fallback)
	}
	s.even()
}

// untold counts connections of which no worker has printed that it accepted them.
func (a *app) untold(ledger clients.Ledger) (n int) {
	told := make(map[string]int) // by the client's address, which may come again
	for line := range strings.Lines(read(a.output)) {
		if client, ok := strings.CutPrefix(line, "accepted "); ok {
			told[strings.TrimSpace(client)]++
		}
	}
	for _, e := range ledger {
		if told[e.Local.String()]--; told[e.Local.String()] < 0 {
			n++
		}
	}
	return n
}

// traces are what crashes could leave behind.
type traces struct{ descriptors, processes, leaves, pins int }

// within tells whether nothing is there that wasn't before.
func (t traces) within(before traces) bool {
	return t.descriptors <= before.descriptors && t.processes <= before.processes &&
		t.leaves <= before.leaves && t.pins <= before.pins
}

func (s sharing) traces() traces {
	s.t.Helper()
	leaves, _ := filepath.Glob(filepath.Join(s.cgroup(), "*", "cgroup.procs"))
	return traces{
		descriptors: len(descriptors(s.t, s.pid())),
		processes:   len(s.processes()),
		leaves:      len(leaves),
		pins:        len(s.glob("v*/*/*/*")) + len(s.glob("v*/*/*")),
	}
}

func (s sharing) generations() (generations [4]uint32) {
	s.t.Helper()
	for _, slot := range s.group(s.port).Slots {
		generations[slot.Slot] = slot.Generation
	}
	return generations
}

// Twenty times kill -9 of sockdist at any moment of its start, with its workers:
// the next one of the name finds nothing in its way, and the last leaves nothing.
func TestRunCrashes(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	port := servers.FreePort(t, nil)
	command := func() []string { return []string{"worker", "-listen", fmt.Sprint(":", port)} }
	first := flags("-n 3").start(t, command()...)
	first.dieSoon()
	again := flags("-n 3")
	again.again = first
	for range 19 {
		again.start(t, command()...).dieSoon()
	}
	last := again.start(t, command()...).serves(port, 3)
	last.expectEven(port, clients.Hold(t, local(port), 30))
	if groups := last.groups(); len(groups) != 1 {
		t.Errorf("groups: %v, want one", groups)
	}
}

func (a *app) dieSoon() {
	a.t.Helper()
	time.Sleep(time.Duration(rand.IntN(400)) * time.Millisecond)
	a.kill()
	a.killWorkers()
}

// Connections that come while workers still start are counted like all others.
func TestRunFirstMoments(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	port := servers.FreePort(t, nil)
	a := flags("-n 4").start(t, "worker", "-listen", fmt.Sprint(":", port))
	var early clients.Held
	client := clients.Client{Timeout: time.Second}
	until(t, "somebody listens", func() bool {
		l := client.Load(t.Context(), local(port), clients.Limits{Count: 1})
		return len(l.Lost()) == 0
	})
	early = clients.Hold(t, local(port), 50)
	a.serves(port, 4)
	until(t, "early connections are counted where they are", func() bool {
		for _, s := range a.group(port).Slots {
			if int(s.Connections) != early.PIDs()[s.PID] {
				return false
			}
		}
		return true
	})
	most := 0
	for _, n := range early.PIDs() {
		most = max(most, n)
	}
	late := clients.Hold(t, local(port), 4*most+40-len(early))
	a.expectEven(port, append(late, early...))
}
