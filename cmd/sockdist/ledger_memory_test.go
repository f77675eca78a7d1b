package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/ledger"
)

// A worker that eats all memory is killed by the kernel. It loses what it had
// accepted and nothing else. With --memory-max, sockdist says that it was the
// memory; on a machine that has the memory controller in cgroup v1, where there
// is no --memory-max, the app is limited from outside.
func TestLedgerMemory(t *testing.T) {
	together(t)
	oneServer(t, ledger.Python, func(t *testing.T, server ledger.Server) {
		s := flags("--log plain --policy rr --hang-after 0")
		s.env = []string{"LEDGER_HANG=eat"}
		isOurs := s.limitMemory(t)
		b := s.startBooked(t, server, 4)
		c := crashes()
		b.hold(10, ledger.Held{})
		for range min(c.turns, 6) {
			load := b.load(c.rate/2, ledger.Held{})
			b.goesOn(b.port)
			k := ledger.Kill{PID: b.victim(), Sent: ledger.Now()}
			if err := unix.Kill(k.PID, unix.SIGUSR2); err != nil {
				t.Fatal(err)
			}
			b.replaced(k.PID)
			k.Dead = ledger.Now()
			b.kills = append(b.kills, k)
			b.goesOn(b.port)
			b.finish(load)
			b.expectExact()
		}
		book, _ := b.settle()
		b.expectOnlyKilledLost(book)
		b.expectNoneRefused()
		if n := strings.Count(read(b.log), "more memory than --memory-max"); isOurs && n != len(b.kills) {
			t.Errorf("%d workers ran out of memory, and it is said %d times", len(b.kills), n)
		}
	})
}

// limitMemory is true if sockdist itself limits the workers.
func (s *setup) limitMemory(t testing.TB) bool {
	t.Helper()
	const v1 = "/sys/fs/cgroup/memory"
	if _, err := os.Stat(filepath.Join(v1, "memory.limit_in_bytes")); err != nil {
		s.flags = append(s.flags, "--memory-max", "150M")
		return true
	}
	needPrograms(t)
	folder, err := os.MkdirTemp(v1, prefix+"-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the app's end
		until(t, "the memory cgroups are empty", func() bool {
			workers, _ := filepath.Glob(filepath.Join(folder, "[0-9]*"))
			for _, w := range workers {
				_ = unix.Rmdir(w)
			}
			return unix.Rmdir(folder) == nil
		})
	})
	// One for each worker: of a cgroup that is full, the kernel may kill any process.
	s.wrapper = []string{"sh", "-ec", `mkdir "$0/$$"; echo 150M >"$0/$$/memory.limit_in_bytes"; echo $$ >"$0/$$/cgroup.procs"; exec "$@"`, folder}
	return false
}
