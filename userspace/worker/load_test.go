package worker

import (
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"
)

func newLoad() *Load {
	l := new(Load)
	l.line.Store(newLine())
	return l
}

func TestLineHasItsOwnCacheLine(t *testing.T) {
	if size := unsafe.Sizeof(line{}); size != 64 {
		t.Errorf("a line has %d bytes", size)
	}
	if linesSize != 256*64 {
		t.Errorf("the loads have %d bytes", linesSize)
	}
	for range 100 {
		l := newLoad()
		if at := uintptr(unsafe.Pointer(l.line.Load())); at%128 != 0 {
			t.Fatalf("a line at %#x", at)
		}
	}
}

func TestLoad(t *testing.T) {
	l := newLoad()
	l.Inc()
	l.Add(10)
	l.Done()
	if got := l.Value(); got != 10 {
		t.Errorf("load %d, want 10", got)
	}
	l.Set(3)
	l.Add(-5)
	if got := l.Value(); got != -2 {
		t.Errorf("load %d, want -2", got)
	}
	l.adjust(ofLatency, 7)
	l.adjust(ofRebalance, 2)
	l.Set(1)
	if got := l.Value(); got != 10 {
		t.Errorf("load %d, want the 1 that was set, and 9 of the library", got)
	}
	l.adjust(ofLatency, 0)
	l.adjust(ofRebalance, 0)
	if got := l.Value(); got != 1 {
		t.Errorf("load %d, want 1", got)
	}
}

func TestLoadAllocatesNothing(t *testing.T) {
	l := newLoad()
	if n := testing.AllocsPerRun(100, func() { l.Inc(); l.Done(); l.Add(3); l.Set(l.Value()) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// mover moves the load from line to line, also to earlier ones, until stop.
func mover(l *Load, stop *atomic.Bool) (moves int) {
	places := make([]*line, 5)
	for i := range places {
		places[i] = newLine()
	}
	for ; !stop.Load(); moves++ {
		l.move(places[moves%len(places)])
	}
	return moves
}

func TestAddsSurviveMoves(t *testing.T) {
	const writers, each = 16, 20_000
	l := newLoad()
	var stop atomic.Bool
	var moving, writing sync.WaitGroup
	moves := 0
	moving.Go(func() { moves = mover(l, &stop) })
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				switch {
				case w%2 == 0:
					l.Add(int64(i % 7))
				default:
					l.Inc()
					l.Done()
					l.Add(1)
				}
			}
		})
	}
	writing.Wait()
	stop.Store(true)
	moving.Wait()
	want := int64(writers / 2 * each)
	for i := range each {
		want += writers / 2 * int64(i%7)
	}
	if got := l.Value(); got != want {
		t.Errorf("load %d after %d moves, want %d", got, moves, want)
	}
	if moves == 0 {
		t.Error("it never moved")
	}
}

// A writer can be stopped after it has read where to write to, for as long as it takes.
func TestLateWriters(t *testing.T) {
	l := newLoad()
	l.Set(10)
	old := l.line.Load()
	expect := func(what string, want int64) {
		t.Helper()
		if got := l.Value(); got != want {
			t.Errorf("load %d after %s, want %d", got, what, want)
		}
		if got := atomic.LoadInt64(&l.line.Load().load); got != want {
			t.Errorf("%d is published after %s, want %d", got, what, want)
		}
	}
	l.move(newLine())
	expect("a move", 10)
	l.addAt(old, 5)
	expect("a late Add", 15)
	l.addAt(old, -30)
	expect("a late Add below 0", -15)
	l.setAt(old, 7)
	expect("a late Set", 7)
	l.addAt(old, 2)
	expect("a late Add after a late Set", 9)
	l.move(newLine())
	l.setAt(old, 1)
	l.addAt(old, 1)
	l.Add(1)
	expect("two moves", 3)
	l.adjust(ofLatency, 100)
	l.move(newLine())
	l.setAt(old, 2)
	l.addAt(old, 1)
	expect("a late Set of what is adjusted", 103)
	l.addAt(&limbo, 1)
	l.setAt(&limbo, 3)
	expect("writers that came during a move", 103)
}

// One writer alone always reads what it has written.
func TestSetsSurviveMoves(t *testing.T) {
	l := newLoad()
	var stop atomic.Bool
	var moving sync.WaitGroup
	moving.Go(func() { mover(l, &stop) })
	for n := range int64(300_000) {
		if n%3 == 0 {
			l.Set(n)
			l.Add(1)
		} else {
			l.Set(n + 1)
		}
		if got := l.Value(); got != n+1 {
			t.Errorf("load %d, want %d", got, n+1)
			break
		}
	}
	stop.Store(true)
	moving.Wait()
}

// What the others add after the last Set counts, whatever the late ones did before.
func TestSetsAndAddsSurviveMoves(t *testing.T) {
	for round := range int64(300) {
		l := newLoad()
		var stop atomic.Bool
		var moving, writing sync.WaitGroup
		moving.Go(func() { mover(l, &stop) })
		for range 4 {
			writing.Go(func() {
				for i := range int64(50) {
					l.Set(i)
					l.Inc()
					l.adjust(ofLatency, i%5)
				}
			})
		}
		writing.Wait()
		l.adjust(ofLatency, 0)
		l.Set(round)
		for range 4 {
			writing.Go(func() {
				for range 100 {
					l.Inc()
				}
			})
		}
		writing.Wait()
		stop.Store(true)
		moving.Wait()
		if got := l.Value(); got != round+400 {
			t.Fatalf("load %d, want %d", got, round+400)
		}
	}
}

func BenchmarkLoadAdd(b *testing.B) {
	l := newLoad()
	for b.Loop() {
		l.Add(1)
	}
}

func BenchmarkLoadIncDone(b *testing.B) {
	l := newLoad()
	for b.Loop() {
		l.Inc()
		l.Done()
	}
}

func BenchmarkLoadSet(b *testing.B) {
	l := newLoad()
	for b.Loop() {
		l.Set(1)
	}
}

func BenchmarkLoadSetAdjusted(b *testing.B) {
	l := newLoad()
	l.adjust(ofLatency, 1)
	for b.Loop() {
		l.Set(1)
	}
}

// What an atomic operation of this machine costs at all.
func BenchmarkAtomicAdd(b *testing.B) {
	p := newLine()
	for b.Loop() {
		atomic.AddInt64(&p.load, 1)
	}
}

// All goroutines write one load: what a worker with several processors pays for itself.
func BenchmarkLoadAddContended(b *testing.B) {
	l := newLoad()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l.Add(1)
		}
	})
}
