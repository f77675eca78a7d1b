package main_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

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
	if after := s.traces(); after != before {
		// Descriptors of the last restart may have a moment to live.
		until(t, fmt.Sprintf("nothing is left: %+v, as before", before), func() bool { return s.traces() == before })
	}
	s.expectLive(port, 4)
	s.even()
	if stale := s.group(port).Stale; stale != 0 {
		t.Logf("%d closes of connections of killed workers came late", stale)
	}
}

// traces are what crashes could leave behind.
type traces struct{ descriptors, processes, leaves, pins int }

func (s sharing) traces() traces {
	s.t.Helper()
	leaves, _ := filepath.Glob(filepath.Join(s.cgroup(), "*", "cgroup.procs"))
	return traces{
		descriptors: len(descriptors(s.t, s.pid())),
		processes:   len(s.processes()),
		leaves:      len(leaves),
		pins:        len(s.glob("v1/*/*/*")) + len(s.glob("v1/*/*")),
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
