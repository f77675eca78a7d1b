package loader

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// traffic opens and closes connections from several goroutines until stop is
// called, which returns how many there were. One that fails fails the test.
func (w *world) traffic(goroutines int) (stop func() int) {
	var running sync.WaitGroup
	var ending atomic.Bool
	var opened atomic.Int64
	for range goroutines {
		running.Go(func() {
			err := w.ns.Do(func() error {
				for !ending.Load() {
					e, err := connect(w.server)
					if err != nil {
						return err
					}
					opened.Add(1)
					e.reset()
				}
				return nil
			})
			if err != nil {
				w.t.Error(err)
			}
		})
	}
	return sync.OnceValue(func() int {
		ending.Store(true)
		running.Wait()
		return int(opened.Load())
	})
}

// sweep empties the accept queues, so that they don't get full.
func (w *world) sweep() {
	w.t.Helper()
	for _, worker := range w.workers {
		for worker.open {
			e, err := worker.accept()
			w.must(err)
			if e == nil {
				break
			}
			e.close()
			worker.accepted = nil
		}
	}
}

// Whatever an operator changes under traffic, no connection is lost.
func TestChangesUnderTraffic(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 12, Least)
	w.incomplete = true // connections stay when their slot's use ends
	stop := w.traffic(4)
	defer stop()
	changes := []func(slot int) error{
		func(int) error { return w.group.SetPolicy(Policies()[rand.IntN(len(Policies()))]) },
		func(slot int) error { return w.group.SetWeight(slot, rand.IntN(MaxWeight+1)) },
		func(slot int) error { return w.group.SetMax(slot, uint32(1000+rand.IntN(100))) },
		func(slot int) error { return w.group.SetMax(slot, 0) },
		func(slot int) error { return w.group.Drain(slot) },
		func(slot int) error { return w.group.Undrain(slot) },
		func(slot int) error {
			if err := w.group.Remove(slot); err != nil {
				return err
			}
			_, err := w.group.Add(slot, w.workers[slot].listener())
			return err
		},
		func(slot int) error {
			l := w.workers[slot].listener()
			l.Reports = rand.IntN(2) == 0
			w.publish(slot, rand.Uint64())
			_, err := w.group.Add(slot, l)
			return err
		},
		func(slot int) error { return w.group.Steer(w.workers[slot].fd) },
	}
	made := 0
	for began := time.Now(); time.Since(began) < 3*epoch; made++ {
		if err := changes[rand.IntN(len(changes))](rand.IntN(len(w.workers))); err != nil {
			t.Fatal(err)
		}
		w.sweep()
	}
	opened := stop()
	if s := w.snapshot(); s.Refused != 0 || s.Retries != 0 {
		t.Errorf("of %d connections during %d changes %d were refused, %d sent to an empty slot",
			opened, made, s.Refused, s.Retries)
	}
	w.sweep()
	w.agree("after all changes")
}

// Unsteer gives the choice back to the kernel, and Steer takes it again, with
// the counts going on.
func TestUnsteerUnderTraffic(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, Least)
	stop := w.traffic(2)
	defer stop()
	for range scaled(50, 10) {
		w.must(w.group.Unsteer(w.workers[0].fd))
		w.sweep()
		w.must(w.group.Steer(w.workers[1].fd))
		w.sweep()
	}
	stop()
	w.sweep()
	w.agree("after it all")
	w.must(w.group.Unsteer(w.workers[2].fd))
	w.must(w.group.Unsteer(w.workers[2].fd)) // nothing to do is no error
	w.connect(40)
	w.agree("by the kernel's hash")
}
