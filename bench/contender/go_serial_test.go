package contender

import (
	"slices"
	"testing"
	"time"

	"github.com/sockdist/sockdist/userspace/sockets"
)

// A serial worker has one connection at a time; others wait where they can
// still be given to somebody else.
func TestSerialWaitsInTheKernel(t *testing.T) {
	for _, name := range []string{"go-shared", "go-reuseport", "sockdist-go"} {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t, 1)
			s.Serial = true
			f := start(t, name, s)
			const work = 50 * time.Millisecond
			took := make(chan time.Duration, 2)
			began := time.Now()
			for range 2 {
				go func() {
					if _, err := Ask(f.Address, "/work?us=50000"); err != nil {
						t.Error(err)
					}
					took <- time.Since(began)
				}()
			}
			time.Sleep(work / 2)
			backlogs, err := sockets.Backlogs(f.Address.Port())
			if err != nil {
				t.Fatal(err)
			}
			waiting := uint32(0)
			for _, n := range backlogs {
				waiting += n
			}
			if waiting != 1 {
				t.Errorf("%d connections wait, want 1", waiting)
			}
			first, second := <-took, <-took
			if first < work || first > work+40*time.Millisecond || second < 2*work || second > 2*work+40*time.Millisecond {
				t.Errorf("answers took %v and %v, want 50 ms and 100 ms", first, second)
			}
		})
	}
}

// Serial workers can be changed and die as others.
func TestSerialFleets(t *testing.T) {
	for _, name := range []string{"go-shared", "go-reuseport", "go-master-rr", "go-master-least", "sockdist-go"} {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t, 2)
			s.Serial = true
			f := start(t, name, s)
			before := awaitWorkers(t, f, 2)
			answeredBy(t, f, before)
			respawns(t, f, before)
			do(t, f.Grow)
			before = awaitWorkers(t, f, 3)
			do(t, f.Reload)
			after := awaitWorkers(t, f, 3)
			if slices.ContainsFunc(after, func(pid int) bool { return slices.Contains(before, pid) }) {
				t.Errorf("a reload made %v of %v", after, before)
			}
			answeredBy(t, f, after)
		})
	}
}

// At SIGUSR2 work takes twice as long, with any server.
func TestSlows(t *testing.T) {
	for _, name := range []string{"go-shared", "go-master-rr", "fasthttp-prefork", "fiber-prefork"} {
		for _, serial := range []bool{false, true} {
			if serial && !ByName(name).Can.Has(Serial) {
				continue
			}
			t.Run(name, func(t *testing.T) {
				s := newSetup(t, 1)
				s.Serial = serial
				f := start(t, name, s)
				slow(t, f)
				if took := workFor(t, f); took < 40*time.Millisecond || took > 75*time.Millisecond {
					t.Errorf("20 ms of work took %v after a SIGUSR2", took)
				}
			})
		}
	}
}
