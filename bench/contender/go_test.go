package contender

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// goNames are the contenders of this file's tests.
var goNames = []string{
	"go-shared", "go-reuseport", "go-master-rr", "go-master-least", "sockdist-go", "sockdist-go-p2c", "sockdist-go-rr",
	"sockdist-go-random", "sockdist-go-hash", "sockdist-go-worker", "fasthttp-prefork", "fiber-prefork", "fasthttp-sockdist",
}

// Each serves with as many workers as it was asked for, and what it says it can, it can.
func TestGoContenders(t *testing.T) {
	for _, name := range goNames {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t, 3)
			f := start(t, name, s)
			can := ByName(name).Can
			before := awaitWorkers(t, f, 3)
			if name == "sockdist-go-hash" {
				sticks(t, f)
				return
			}
			answeredBy(t, f, before)
			if (f.Grow != nil) != can.Has(Grows) || (f.Reload != nil) != can.Has(Reloads) {
				t.Errorf("grows %v, reloads %v: it is said to be able to %b", f.Grow != nil, f.Reload != nil, can)
			}
			for _, pid := range before {
				if slack, err := os.ReadFile(fmt.Sprintf("/proc/%d/timerslack_ns", pid)); err != nil || string(slack) != "1\n" {
					t.Errorf("timers of %d are as late as %q ns, %v", pid, slack, err)
				}
			}
			if cpu, err := f.CPU(); err != nil || cpu <= 0 {
				t.Errorf("CPU %v, %v", cpu, err)
			}
			if memory, err := f.Memory(); err != nil || memory < 1<<20 {
				t.Errorf("memory %d, %v", memory, err)
			}
			if can.Has(Respawns) {
				respawns(t, f, before)
			}
			if can.Has(Grows) {
				do(t, f.Grow)
				answeredBy(t, f, awaitWorkers(t, f, 4))
			}
			if can.Has(Reloads) {
				before = awaitWorkers(t, f, 4)
				do(t, f.Reload)
				after := awaitWorkers(t, f, 4)
				if slices.ContainsFunc(after, func(pid int) bool { return slices.Contains(before, pid) }) {
					t.Errorf("a reload made %v of %v", after, before)
				}
				answeredBy(t, f, after)
			}
		})
	}
}

// sticks is the policy hash: a client's address has one worker.
func sticks(t *testing.T, f *Fleet) {
	t.Helper()
	pids := atOnce(t, f, 6, "/")
	slices.Sort(pids)
	if got := slices.Compact(pids); len(got) != 1 {
		t.Errorf("%v answered one address", got)
	}
}

func do(t *testing.T, change func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := change(ctx); err != nil {
		t.Fatal(err)
	}
}

// A reload loses nothing, but where sockets end with their workers.
func TestGoReloads(t *testing.T) {
	for _, name := range []string{"go-shared", "go-master-rr", "sockdist-go", "sockdist-go-worker"} {
		for _, serial := range []bool{false, true} {
			if serial && !ByName(name).Can.Has(Serial) {
				continue
			}
			t.Run(fmt.Sprintf("%s/%v", name, serial), func(t *testing.T) {
				s := newSetup(t, 2)
				s.Serial = serial
				f := start(t, name, s)
				stop := askingOn(t, f)
				do(t, f.Reload)
				answered, failed := stop()
				if failed != nil || answered < sides {
					t.Errorf("%d requests were answered meanwhile; %v", answered, failed)
				}
			})
		}
	}
}

// sides is from how many askingOn asks; each asks once at least.
const sides = 4

// askingOn asks from all sides until it is stopped.
func askingOn(t *testing.T, f *Fleet) (stop func() (answered int, failed error)) {
	var mu sync.Mutex
	var over bool
	var answered int
	var failed error
	var asking sync.WaitGroup
	for range sides {
		asking.Go(func() {
			for {
				_, err := Ask(f.Address, "/work?us=1000")
				mu.Lock()
				if err == nil {
					answered++
				}
				failed = errors.Join(failed, err)
				done := over
				mu.Unlock()
				if done {
					return
				}
			}
		})
	}
	stop = sync.OnceValues(func() (int, error) {
		mu.Lock()
		over = true
		mu.Unlock()
		asking.Wait()
		return answered, failed
	})
	t.Cleanup(func() { _, _ = stop() })
	return stop
}

// respawns kills a worker, and another comes.
func respawns(t *testing.T, f *Fleet, pids []int) {
	t.Helper()
	if err := unix.Kill(pids[0], unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		now, err := f.Workers()
		if err == nil && len(now) == len(pids) && !slices.Contains(now, pids[0]) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d was killed; workers %v, then %v, %v", pids[0], pids, now, err)
		}
	}
}

// awaitWorkers waits for exactly n.
func awaitWorkers(t *testing.T, f *Fleet, n int) []int {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		pids, err := f.Workers()
		if err == nil && len(pids) == n {
			return pids
		}
		if time.Now().After(deadline) {
			t.Fatalf("workers %v, %v; want %d", pids, err, n)
		}
	}
}

// answeredBy has all of some workers answer, and nobody else. What gives out
// connections at random gets time for it.
func answeredBy(t *testing.T, f *Fleet, want []int) {
	t.Helper()
	answered := make(map[int]bool)
	for deadline := time.Now().Add(patience); len(answered) < len(want); {
		for _, pid := range atOnce(t, f, 2*len(want), "/work?us=500") {
			answered[pid] = true
			if !slices.Contains(want, pid) {
				t.Fatalf("%d answered; workers are %v", pid, want)
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("only %v answered, of %v", answered, want)
		}
	}
}

// atOnce asks over connections of the same time.
func atOnce(t *testing.T, f *Fleet, n int, path string) []int {
	t.Helper()
	pids, errs := make([]int, n), make([]error, n)
	var asking sync.WaitGroup
	for i := range n {
		asking.Go(func() { pids[i], errs[i] = Ask(f.Address, path) })
	}
	asking.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	return pids
}

// Dispatch that leaves nothing to chance reaches every worker in the first round.
func TestGoDispatch(t *testing.T) {
	for _, name := range []string{"go-master-rr", "go-master-least", "sockdist-go", "sockdist-go-rr"} {
		t.Run(name, func(t *testing.T) {
			f := start(t, name, newSetup(t, 3))
			var got []int
			// On a busy machine what is to be at once may come one after the other.
			for range 30 {
				got = atOnce(t, f, 3, "/work?us=50000")
				slices.Sort(got)
				if got = slices.Compact(got); len(got) == 3 {
					return
				}
			}
			t.Errorf("three connections at once reached %v, again and again", got)
		})
	}
}
