package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// recount may be called from several goroutines.
func (w *world) recount() (corrected int) {
	w.t.Helper()
	if err := w.ns.Do(func() (err error) {
		corrected, err = w.group.Recount()
		return err
	}); err != nil {
		w.t.Error(err)
	}
	return corrected
}

// spoil makes a slot's count wrong, as lost events would.
func (w *world) spoil(slot, by int) {
	atomic.AddUint64(&w.group.memory.value.Slot[slot].Counts, uint64(int64(by)))
}

// words are both halves of the first n slots' counts.
func (w *world) words(n int) (words []uint64) {
	for i := range n {
		words = append(words, atomic.LoadUint64(&w.group.memory.value.Slot[i].Counts))
	}
	return words
}

// load has connections come and go at the workers, some thousands a second, until
// stop; slower halves their rate.
func (w *world) load(workers []*worker) (stop, slower func()) {
	for _, worker := range workers {
		worker.acceptAll(w.t) // these stay
		w.t.Cleanup(w.serve(worker, func(n, fd int) { endBy(n, fd, false) }))
	}
	var over atomic.Bool
	var pause atomic.Int64
	pause.Store(int64(500 * time.Microsecond)) // no queue gets long
	var clients sync.WaitGroup
	for range 2 {
		clients.Go(func() {
			err := w.ns.Do(func() error {
				for n := 0; !over.Load(); n++ {
					e, err := connect(w.server)
					if errors.Is(err, unix.ECONNRESET) { // the server was faster
						continue
					}
					if err != nil {
						return err
					}
					endBy(n%2*2, e.fd, true) // nobody may be there to wait for
					time.Sleep(time.Duration(pause.Load()))
				}
				return nil
			})
			if err != nil {
				w.t.Error(err)
			}
		})
	}
	stop = sync.OnceFunc(func() {
		over.Store(true)
		clients.Wait()
	})
	w.t.Cleanup(stop) // if the test fails before
	return stop, func() { pause.Store(min(2*pause.Load(), int64(100*time.Millisecond))) }
}

// mixed is a group of ten slots that stand still: 0 and 1 have accepted
// connections, 2 and 3 a queue, 4 is gone and its queue moved to the others, 5 to
// 9 have nothing but what moved there.
func mixed(t *testing.T, settings ...setting) *world {
	w := newWorld(t, 10, Least, settings...)
	w.incomplete = true
	w.connect(scaled(100, 40))
	for _, worker := range append(w.workers[:2:2], w.workers[5:]...) {
		worker.acceptAll(t)
	}
	for _, worker := range w.workers[5:] {
		for _, e := range worker.accepted {
			e.reset()
		}
		worker.accepted = nil
	}
	w.workers[4].close()
	w.agree("held, queued and moved")
	return w
}

// Every count that is wrong is right again after one call, to the bit.
func TestRecount(t *testing.T) {
	for kind, where := range loopbacks {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := mixed(t, where)
			if n := w.recount(); n != 0 {
				t.Errorf("%d were corrected where nothing was wrong", n)
			}
			before := w.words(10)
			w.spoil(0, 3)
			w.spoil(1, -2)
			w.spoil(2, 1)
			w.spoil(3, -1)
			w.spoil(4, 5)
			w.spoil(9, -8) // below 0, that is
			if n := w.recount(); n != 20 {
				t.Errorf("%d were corrected, want 20", n)
			}
			if after := w.words(10); fmt.Sprint(before) != fmt.Sprint(after) {
				t.Errorf("counts were %x, are %x", before, after)
			}
			w.agree("recounted")
			if n := w.snapshot().Corrected; n != 20 {
				t.Errorf("%d are said to be corrected", n)
			}
			w.spoil(4, 7)
			w.acceptAll()
			if n := w.recount(); n != 7 {
				t.Errorf("%d were corrected when all was accepted, want 7", n)
			}
			w.each("closed by clients", w.clients, resetEnd)
		})
	}
}

// A count that lost opens and closes is put right beside slots under load, and
// under load itself.
func TestRecountBesideLoad(t *testing.T) {
	for kind, where := range loopbacks {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := mixed(t, where)
			for slot := range 4 {
				w.must(w.group.Drain(slot))
			}
			before := w.shares()[:4] // what is pending may be off by one about the beginning of an epoch
			stop, slower := w.load(w.workers[5:])
			for range 5 {
				w.spoil(0, 3)
				w.spoil(1, -2)
				w.spoil(3, 1)
				w.recount()
				if now := w.shares()[:4]; !slices.Equal(now, before) {
					t.Errorf("slots without load had %v, have %v", before, now)
				}
			}
			corrected := w.snapshot().Corrected
			w.spoil(6, 3)
			w.spoil(7, -2)
			w.eventually("slots under load", func() error {
				w.recount()
				if n := w.snapshot().Corrected - corrected; n < 5 {
					slower() // a walk that takes long proves nothing of what comes and goes meanwhile
					return fmt.Errorf("%d were corrected, want 5", n)
				}
				return nil
			})
			stop()
			w.recount()
			w.correctedRightly(int(w.snapshot().Corrected-corrected) - 5)
			w.agree("after the load")
		})
	}
}

// Without a drift nothing is corrected, whatever comes, goes and moves.
func TestRecountCorrectsNothingUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, Least)
	w.incomplete = true
	w.connect(40)
	w.acceptAll()
	w.must(w.group.Drain(0))
	stop, _ := w.load(w.workers[2:])
	corrected := 0
	for n := range scaled(1000, 60) {
		if n%40 == 20 {
			w.workers[1].close() // nobody accepts there: what came meanwhile moves
			w.replace(1)
		}
		corrected += w.recount()
	}
	stop()
	w.workers[1].close()
	w.correctedRightly(corrected)
	w.agree("after the load")
	if n := w.snapshot().Migrated; n == 0 {
		t.Error("nothing moved")
	}
}

// correctedRightly bears that some closes went unseen (see unseenCloses), but no
// correction without one: then counts would be wrong now.
func (w *world) correctedRightly(corrected int) {
	w.t.Helper()
	if corrected == 0 {
		return
	}
	if err := w.await(func() error { return w.compare(nil) }); err != nil || corrected > w.unseenMost() {
		w.t.Fatalf("%d were corrected, and now %v", corrected, err)
	}
	w.t.Logf("the kernel ran no program at %d closes", corrected)
}

// deaf has nothing see what happens to connections while f runs.
func (w *world) deaf(f func()) {
	w.t.Helper()
	for _, pin := range accountNames() {
		l, err := loadLink(filepath.Join(w.host.dir, pin))
		w.must(err)
		info, err := l.Info()
		w.must(err)
		w.must(errors.Join(l.Unpin(), l.Close()))
		w.eventually("the program is gone", func() error {
			p, err := ebpf.NewProgramFromID(info.Program)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil {
				p.Close()
			}
			return fmt.Errorf("%s is there: %v", pin, err)
		})
	}
	defer func() {
		maps, err := w.host.pinnedMaps()
		w.must(err)
		defer maps.close()
		var objects struct {
			Account      *ebpf.Program `ebpf:"account"`
			AccountAgain *ebpf.Program `ebpf:"account_again"`
		}
		w.must(load(&objects, map[string]*ebpf.Map{"origins": maps.Origins, "moved": maps.Moved,
			"probes": maps.Probes, "groups": maps.Groups, "apps": maps.Apps}))
		defer closeAll(objects.Account, objects.AccountAgain)
		for i, program := range []*ebpf.Program{objects.Account, objects.AccountAgain} {
			l, err := link.AttachTracing(link.TracingOptions{Program: program})
			w.must(err)
			w.must(errors.Join(l.Pin(filepath.Join(w.host.dir, accountNames()[i])), l.Close()))
		}
	}()
	f()
}

// Closes that no program saw are taken off, those of moved connections too, and
// nothing is remembered of these.
func TestRecountOfUnseenCloses(t *testing.T) {
	for kind, where := range loopbacks {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 4, Least, where)
			clients := w.connect(40)
			w.workers[3].close()
			w.agree("moved")
			servers := w.acceptAll()
			moved := w.group.memory.value.Moved
			w.deaf(func() {
				for _, e := range append(clients, servers...) {
					e.reset()
				}
			})
			if n := sum(w.shares()); n != 40 {
				t.Fatalf("%d closes were seen", 40-n)
			}
			w.connect(8)
			if n := w.recount(); n != 40 {
				t.Errorf("%d were corrected, want 40", n)
			}
			w.agree("recounted")
			if now := w.group.memory.value.Moved; moved == 0 || now != 0 {
				t.Errorf("%d of %d moves are still remembered", now, moved)
			}
			if n := w.recount(); n != 0 {
				t.Errorf("%d more were corrected", n)
			}
		})
	}
}

// Of all differences, tests let pass only a few closes that went unseen.
func TestUnseenCloses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, Least)
	clients := w.connect(40)
	servers := w.acceptAll()
	lose := func(from, to int) {
		w.deaf(func() {
			for _, c := range clients[from:to] {
				for _, s := range servers {
					if s.remote == c.local {
						s.reset()
					}
				}
				c.reset()
			}
		})
	}
	passes := func(what string, want int) {
		t.Helper()
		if n, err := w.unseenCloses(nil); n != want || (err == nil) != (want > 0) {
			t.Errorf("%s: %d, %v", what, n, err)
		}
	}
	passes("nothing is wrong", 0)
	w.spoil(1, -1)
	passes("one too few", 0)
	w.spoil(1, 1)
	lose(0, 10)
	passes("ten unseen", 10)
	w.spoil(1, -7)
	passes("ten unseen, and too few elsewhere", 0)
	w.spoil(1, 7)
	w.deaf(func() { w.connect(1) })
	passes("a connection that was never counted", 0)
	w.clients[40].reset()
	w.acceptAll()
	lose(10, 30)
	passes("too many", 0)
	if n := w.recount(); n != 30 {
		t.Errorf("%d were corrected", n)
	}
	w.incomplete = true // the uncounted one was accepted
	w.agree("recounted")
}

// A move whose connection ended unseen is forgotten, though its slot has
// another use by now and its count is right.
func TestRecountForgetsMoves(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, Least)
	w.connect(20)
	w.workers[0].close()
	w.agree("moved")
	former := append(w.workers[1].acceptAll(t), w.clients...)
	w.deaf(func() {
		for _, e := range former {
			e.reset()
		}
	})
	w.workers[1].accepted = nil
	w.workers[1].close()
	w.replace(0)
	w.replace(1)
	if n := w.recount(); n != 0 || w.group.memory.value.Moved != 0 {
		t.Errorf("%d were corrected, and %d moves are remembered", n, w.group.memory.value.Moved)
	}
}

// Elsewhere, and when the group is gone, nothing is touched.
func TestRecountRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, Least)
	w.connect(10)
	if n, err := w.group.Recount(); n != 0 || !errors.Is(err, unix.EXDEV) {
		t.Errorf("in another namespace: %d, %v", n, err)
	}
	w.agree("after that")
	w.closeAll()
	w.must(w.group.Destroy())
	err := w.ns.Do(func() error { _, err := w.group.Recount(); return err })
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a group that is gone: %v", err)
	}
	w.group.Close()
	w.group = nil
}

// What a call costs while nothing is wrong.
func BenchmarkRecount(b *testing.B) {
	for _, sockets := range []int{0, 1000, 10_000} {
		b.Run(fmt.Sprint(sockets), func(b *testing.B) {
			var limit unix.Rlimit
			if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil || limit.Cur < uint64(2*sockets+100) {
				b.Skip("too few descriptors: ulimit -n")
			}
			w := newWorld(b, 4, Least)
			w.connect(sockets / 2) // both ends are sockets
			w.must(w.ns.Do(func() error {
				began := time.Now()
				if _, err := w.group.Recount(); err != nil {
					return err
				}
				b.ReportMetric(float64(time.Since(began).Microseconds()), "first-µs")
				b.ResetTimer()
				for b.Loop() {
					if n, err := w.group.Recount(); n != 0 || err != nil {
						return fmt.Errorf("%d corrected, %w", n, err)
					}
				}
				return nil
			}))
		})
	}
}
