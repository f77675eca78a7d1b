package contender

import (
	"errors"
	"fmt"
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
			var err error
			for range 30 { // others may keep this machine busy
				if err = twoOfSerial(f); err == nil {
					return
				}
			}
			t.Error(err)
		})
	}
}

// twoOfSerial has two clients of 50 ms each at once: the second waits in an
// accept queue until the first is served.
func twoOfSerial(f *Fleet) error {
	const work = 50 * time.Millisecond
	type answer struct {
		took time.Duration
		err  error
	}
	answers := make(chan answer, 2)
	began := time.Now()
	for range 2 {
		go func() {
			_, err := Ask(f.Address, "/work?us=50000")
			answers <- answer{time.Since(began), err}
		}()
	}
	waited, err := waitsUntil(f, func() bool { return len(answers) > 0 })
	first, second := <-answers, <-answers
	if err := errors.Join(err, first.err, second.err); err != nil {
		return err
	}
	if waited != 1 || first.took < work || second.took < 2*work {
		return fmt.Errorf("answers took %v and %v, want 50 ms and 100 ms; %d connections waited, want 1", first.took, second.took, waited)
	}
	return nil
}

// waitsUntil is how many connections wait to be accepted, in the end.
func waitsUntil(f *Fleet, over func() bool) (waiting uint32, err error) {
	for {
		backlogs, err := sockets.Backlogs(f.Address.Port())
		if err != nil || over() {
			return waiting, err
		}
		waiting = 0
		for _, n := range backlogs {
			waiting += n
		}
		time.Sleep(time.Millisecond)
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

// Servers that use bare descriptors aren't robbed of them by the collector,
// which comes within some thousand requests.
func TestDescriptorsLast(t *testing.T) {
	t.Setenv("GOGC", "1")
	for _, name := range []string{"go-shared", "go-master-rr", "go-master-least"} {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t, 1)
			s.Serial = true
			f := start(t, name, s)
			for range 4000 {
				if _, err := Ask(f.Address, "/"); err != nil {
					t.Fatal(err, f.Alive())
				}
			}
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
				var took time.Duration
				for range 200 { // until it has heard
					if took = workFor(t, f); took >= 40*time.Millisecond {
						return
					}
				}
				t.Errorf("20 ms of work took %v after a SIGUSR2", took)
			})
		}
	}
}
