package main_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/ledger"
	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// deaths: SOCKDIST_LONG=1 has twenty in a row at 2,000 connections/s.
func deaths() changes {
	switch {
	case long():
		return changes{rate: 2000, turns: 20, held: 100}
	case testing.Short():
		return changes{rate: 200, turns: 2, held: 5}
	}
	return changes{rate: 300, turns: 4, held: 10}
}

// dies is a kill -9 of sockdist at some moment of the next half second, which is
// then started again with the same command line.
func (b *booked) dies() {
	b.t.Helper()
	time.Sleep(time.Duration(b.random.Int64N(int64(500 * time.Millisecond))))
	b.app.kill()
	time.Sleep(time.Duration(b.random.Int64N(int64(200 * time.Millisecond))))
	b.app = b.app.startAgain()
	b.says("took over ")
}

// losesAWorker kills a worker and waits for its successor.
func (b *booked) losesAWorker() {
	b.t.Helper()
	before := len(b.kills)
	b.kill(0)
	b.says(fmt.Sprintf("(pid %d) ", b.kills[before].PID)) // its supervisor knows who died
	b.changed(b.workers)
}

// kill -9 of sockdist itself under load, again and again at any moment: the next
// one takes over the same workers, and no connection notices. Afterwards it
// looks after them as if it had started them.
func TestSupervisorDies(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, server ledger.Server) {
		c := deaths()
		b := flags("--log plain").startBooked(t, server, 3)
		b.hold(c.held, ledger.Held{})
		load := b.load(c.rate, ledger.Held{})
		workers := b.changed(3)
		for range c.turns {
			b.dies()
			expectKept(t, workers, b.changed(3))
		}
		b.finish(load)
		b.expectExact()
		b.expectNoneLost()

		load = b.load(c.rate, ledger.Held{})
		b.losesAWorker()
		b.finish(load)
		book, _ := b.settle()
		b.expectOnlyKilledLost(book)
		if got := len(b.workerLeaves()); got != 3 {
			t.Errorf("%d leaves, want 3", got)
		}
	})
}

func (a *app) workerLeaves() []string {
	leaves, _ := filepath.Glob(filepath.Join(a.cgroup(), "[0-9]*"))
	return leaves
}

// The same in the middle of reloads and of scale steps: the next supervisor goes
// on with them.
func TestSupervisorDiesDuringAChange(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, server ledger.Server) {
		c := deaths()
		b := flags("--log plain --grace 20s").startBooked(t, server, 3)
		b.hold(c.held, ledger.Held{Life: 2 * time.Second})
		load := b.load(c.rate, ledger.Held{})
		before, n := b.changed(3), 3
		for turn := range c.turns {
			change := [][]string{
				{"reload", b.name}, {"scale", b.name, "5"}, {"reload", "--all-at-once", b.name}, {"scale", b.name, "3"},
			}[turn%4]
			asked := b.start(change...)
			b.says(change[0] + ": worker ") // only now it is sure to be written down
			b.dies()
			if code := asked.wait(); code == 0 {
				t.Logf("%v was over before sockdist died", change)
			}
			switch turn % 4 {
			case 1:
				n = 5
			case 3:
				n = 3
			}
			b.rests(n)
			after := b.changed(n)
			if change[0] == "reload" {
				expectReplaced(t, before, after)
			}
			before = after
		}
		b.finish(load)
		b.expectNoneLost()
	})
}

// rests waits until the supervisor has no change to make any more, nor workers
// that come or go, and n that serve.
func (a *app) rests(n int) {
	a.t.Helper()
	until(a.t, fmt.Sprintf("%d workers serve, as the state file says", n), func() bool {
		state, err := control.ReadState(a.runtime, a.name)
		return err == nil && state.Supervisor == a.pid() && !state.Reloading && state.Wanted == n && len(state.Workers) == n &&
			!slices.ContainsFunc(state.Workers, func(w control.WorkerState) bool { return w.Stage != control.StageServing })
	})
}

// statePath is the file in which the supervisor writes down what it knows.
func (a *app) statePath() string { return filepath.Join(a.runtime, a.name, "state.json") }

// changeState rewrites it.
func (a *app) changeState(change func(*control.State)) {
	a.t.Helper()
	state, err := control.ReadState(a.runtime, a.name)
	if err != nil {
		a.t.Fatal(err)
	}
	change(state)
	text, err := json.Marshal(state)
	if err == nil {
		err = os.WriteFile(a.statePath(), text, 0o600)
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

// Without a state file, or with one that is of no use, the workers are taken over
// all the same: who lives in a leaf of the app is a worker of it.
func TestTakeOverWithABadStateFile(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	for name, c := range map[string]struct {
		spoil func(*app) error
		says  string
	}{
		"missing":        {func(a *app) error { return os.Remove(a.statePath()) }, "no such file"},
		"folder missing": {func(a *app) error { return os.RemoveAll(filepath.Dir(a.statePath())) }, "no such file"},
		"empty":          {func(a *app) error { return os.WriteFile(a.statePath(), nil, 0o600) }, "can't be read"},
		"garbage": {func(a *app) error {
			return os.WriteFile(a.statePath(), []byte(`{"version":1,"workers":[{"slot":`), 0o600)
		}, "can't be read"},
		"newer": {func(a *app) error {
			a.changeState(func(s *control.State) { s.Version = 99 })
			return nil
		}, "of version 99"},
		"nonsense": {func(a *app) error {
			a.changeState(func(s *control.State) {
				s.Wanted, s.Generation = 2, -5
				for i := range s.Workers {
					s.Workers[i].Slot, s.Workers[i].Stage = 400+i, "asleep"
				}
			})
			return nil
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := setup{}.startChangeable(t)
			before := a.pids(a.port)
			held := a.hold(20)
			load := startTraffic(t, clients.Client{}, local(a.port))
			a.app.kill()
			if err := c.spoil(a.app); err != nil {
				t.Fatal(err)
			}
			a.app = a.startAgain()
			a.says("took over 2 workers")
			expectSaid(t, read(a.log), c.says)
			expectKept(t, before, a.settled(a.port, 2))
			a.serves(a.port, 2)
			if ledger := held.Ask(); len(ledger.Lost()) > 0 {
				t.Errorf("connections of before: %v", ledger)
			}
			a.verb("scale", a.name, "3")
			held.Close()
			a.verb("reload", a.name)
			expectReplaced(t, before, a.settled(a.port, 3))
			load.expectAnswered()
		})
	}
}

// The state file names a process that isn't the worker, as after its number went
// to somebody else: that one is not touched, whatever the file says.
func TestTakeOverNeverTouchesStrangers(t *testing.T) {
	t.Parallel()
	for name, recycled := range map[string]bool{"same start": true, "other start": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := setup{}.startChangeable(t)
			stranger := startSleeper(t)
			began, err := sockets.StartTime(stranger)
			if err != nil {
				t.Fatal(err)
			}
			before := a.pids(a.port)
			a.app.kill()
			killProcess(t, before[1])
			a.changeState(func(s *control.State) {
				for i := range s.Workers {
					s.Workers[i].PID = stranger
					s.Workers[i].Start = 1
					if recycled {
						s.Workers[i].Start = began
					}
				}
			})
			a.app = a.startAgain()
			a.rests(2)
			a.verb("reload", a.name)
			expectReplaced(t, before, a.settled(a.port, 2))
			a.verb("stop", a.name)
			if code := a.exit(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if err := unix.Kill(stranger, 0); err != nil {
				t.Errorf("the stranger: %v", err)
			}
			if state := status(t, stranger, "State"); !strings.HasPrefix(state, "S") {
				t.Errorf("the stranger's state is %s", state)
			}
		})
	}
}

// startSleeper starts a process that has nothing to do with any app.
func startSleeper(t testing.TB) int {
	t.Helper()
	sleeper := exec.Command("sleep", "600")
	sleeper.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = sleeper.Process.Kill()
		_ = sleeper.Wait()
	})
	return sleeper.Process.Pid
}

// A worker that died while nobody looked after it is started again, in its slot,
// and a process that it left is ended.
func TestTakeOverAfterAWorkersDeath(t *testing.T) {
	t.Parallel()
	a := setup{}.startChangeable(t, "-orphan", "10m")
	before := a.pids(a.port)
	orphans := a.workers()
	load := startTraffic(t, clients.Client{}, local(a.port))
	a.app.kill()
	death := killAndWait(t, before[0])
	a.goesOn(a.port)
	a.app = a.startAgain()
	after := a.settled(a.port, 2)
	if after[1] != before[1] || after[0] == before[0] {
		t.Errorf("processes %v, before %v; want another in slot 0", after, before)
	}
	for _, pid := range orphans["0"] {
		if slices.Contains(a.workers()["0"], pid) {
			t.Errorf("process %d, which the dead worker left, lives on", pid)
		}
	}
	load.expectAnsweredBut(death)
}

// Started again with another number of workers, it takes over all, and then
// scales.
func TestTakeOverWithAnotherNumber(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			a := flags("-n 3").startChangeableWith(t, 3)
			before := a.pids(a.port)
			load := startTraffic(t, clients.Client{}, local(a.port))
			a.app.kill()
			a.app = a.startAgain("-n", fmt.Sprint(n))
			a.says("took over 3 workers")
			after := a.settled(a.port, n)
			kept := 0
			for pid := range maps.Values(after) {
				if slices.Contains(slices.Collect(maps.Values(before)), pid) {
					kept++
				}
			}
			if want := min(n, 3); kept != want {
				t.Errorf("%d of the old workers serve, want %d: %v, before %v", kept, want, after, before)
			}
			load.expectAnswered()
		})
	}
}

// What sockdist scale said holds over the supervisor's death.
func TestTakeOverAfterScale(t *testing.T) {
	t.Parallel()
	a := setup{}.startChangeable(t)
	a.verb("scale", a.name, "4")
	before := a.settled(a.port, 4)
	a.app.kill()
	a.app = a.startAgain()
	a.says("took over 4 workers")
	expectKept(t, before, a.settled(a.port, 4))
}

// --take-over replaces a live supervisor, as for an upgrade of sockdist.
func TestTakeOverFromALiveSupervisor(t *testing.T) {
	t.Parallel()
	b := flags("--log plain").startBooked(t, ledger.Node, 3)
	b.hold(10, ledger.Held{})
	load := b.load(300, ledger.Held{})
	workers := b.changed(3)
	refused := b.startAgain()
	if code := refused.exit(); code != 1 {
		t.Errorf("without --take-over: exit code %d, want 1", code)
	}
	expectSaid(t, lastError(t, refused), "--take-over")
	for range 3 {
		old := b.app
		b.app = b.startAgain("--take-over")
		b.says("took over 3 workers")
		if code := old.exit(); code != 0 {
			t.Errorf("the supervisor that left: exit code %d", code)
		}
		expectKept(t, workers, b.changed(3))
	}
	// Also while it is at a reload.
	asked := b.start("reload", b.name)
	b.says("reload: worker 3 starts")
	b.app = b.startAgain("--take-over")
	b.says("took over ")
	if code := asked.wait(); code != 1 {
		t.Logf("the reload was over before: exit code %d\n%s", code, asked.errs)
	}
	// They would keep the old workers.
	b.finish(b.held)
	b.held = nil
	b.rests(3)
	expectReplaced(t, workers, b.changed(3))
	b.finish(load)
	b.expectNoneLost()
}

// stop ends an app whose supervisor is gone.
func TestStopWithoutASupervisor(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]bool{"": false, "without a state": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := setup{}.startChangeable(t)
			ledger := startTraffic(t, clients.Client{}, local(a.port))
			a.app.kill()
			a.goesOn(a.port)
			if spoil {
				if err := os.RemoveAll(filepath.Join(a.runtime, a.name)); err != nil {
					t.Fatal(err)
				}
			}
			expectSaid(t, a.refused(1, "reload", a.name), "the supervisor of app "+a.name+" is gone", "sockdist run --name "+a.name)
			ledger.expectAnswered()
			a.verb("stop", a.name)
			a.expectNothingLeft() // the reader of the workers' output ends after them
			expectSaid(t, a.refused(1, "stop", a.name), a.name)
		})
	}
}
