package worker

import (
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// sharedMemory is a file that can be mapped like a group's loads.
func sharedMemory(t testing.TB) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("loads", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "loads")
	t.Cleanup(func() { file.Close() })
	if err := file.Truncate(int64(linesSize)); err != nil {
		t.Fatal(err)
	}
	return file
}

func mapped(t testing.TB, file *os.File) *lines {
	t.Helper()
	shared, err := mapLines(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unmap(shared) })
	return shared
}

func TestSameLines(t *testing.T) {
	one, two := sharedMemory(t), sharedMemory(t)
	a, again, b := mapped(t, one), mapped(t, one), mapped(t, two)
	if !a.same(again, 7) || !a.same(a, 7) {
		t.Error("two mappings of one memory aren't the same")
	}
	if a.same(b, 7) {
		t.Error("two memories are the same")
	}
}

// Moving to the line where the load already is, by another address, loses nothing either.
func TestMoveToTheSameLine(t *testing.T) {
	file := sharedMemory(t)
	places := []*line{&mapped(t, file)[3], &mapped(t, file)[3]}
	l := newLoad()
	l.move(places[0])
	var stop atomic.Bool
	var moving, writing sync.WaitGroup
	moving.Go(func() {
		for i := 0; !stop.Load(); i++ {
			l.move(places[i%2])
		}
	})
	const writers, each = 8, 20_000
	for range writers {
		writing.Go(func() {
			for range each {
				l.Inc()
			}
		})
	}
	writing.Wait()
	stop.Store(true)
	moving.Wait()
	if got := l.Value(); got != writers*each {
		t.Errorf("load %d, want %d", got, writers*each)
	}
}

// neighbours runs the benchmark on a line while another thread writes to the line at that
// distance, or to none if it is 0.
func neighbours(b *testing.B, distance int) {
	shared := mapped(b, sharedMemory(b))
	l := newLoad()
	l.move(&shared[100])
	var stop atomic.Bool
	var other sync.WaitGroup
	ready := make(chan struct{})
	other.Go(func() {
		alone := newLine()
		to := alone
		if distance > 0 {
			to = &shared[100+distance]
		}
		close(ready)
		for !stop.Load() {
			for range 1000 {
				atomic.AddInt64(&to.load, 1)
			}
		}
	})
	<-ready
	for b.Loop() {
		l.Add(1)
	}
	stop.Store(true)
	other.Wait()
}

// The neighbour in the next slot costs what one somewhere else costs.
func BenchmarkLoadAddBesideNobody(b *testing.B)    { neighbours(b, 0) }
func BenchmarkLoadAddBesideNeighbour(b *testing.B) { neighbours(b, 1) }
func BenchmarkLoadAddBesideDistant(b *testing.B)   { neighbours(b, 100) }
