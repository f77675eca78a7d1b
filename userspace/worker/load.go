package worker

import (
	"sync"
	"sync/atomic"
)

// Load is the number that the kernel adds to a worker's connections when it
// compares workers: the one with the least sum, divided by its weight, gets the
// next connection. Its unit is a connection: a load of 3 is worth three of
// them. A load below 0 counts as 0.
//
// It is published where the kernel reads it at its next pick. Each method is one
// atomic operation on a cache line that no other worker writes to, without system
// call or allocation, and may be called by any goroutine at any time, also after
// [Listener.Close]. Before a worker has joined, and if it never does, the load is kept
// as well, and goes along when it joins.
type Load struct {
	// line is limbo while the load moves from one line to another; see move.
	line atomic.Pointer[line]

	// adjusted: the library adds numbers of its own.
	adjusted atomic.Bool

	mu    sync.Mutex     // for moves and what waits for them
	extra [sources]int64 // by the library, and in the line; under mu
}

// Add raises the load by n, or lowers it if n is negative.
func (l *Load) Add(n int64) { l.addAt(l.line.Load(), n) }

// addAt is Add, after it has read which line to write to. Any time may have
// passed since.
func (l *Load) addAt(p *line, n int64) {
	if atomic.AddInt64(&p.load, n) < retiredBelow {
		l.addLate(n)
	}
}

// Inc raises the load by 1.
func (l *Load) Inc() { l.addAt(l.line.Load(), 1) }

// Done lowers the load by 1.
func (l *Load) Done() { l.addAt(l.line.Load(), -1) }

// Set makes n the load. It is for loads that are measured rather than counted, and
// costs less than Add: where one goroutine counts, it can keep the count
// and Set it. With [WithSchedulerLatency] and [WithRebalance] n is what the
// library adds its own to, under a mutex.
func (l *Load) Set(n int64) { l.setAt(l.line.Load(), n) }

// setAt is Set, after it has read which line to write to.
func (l *Load) setAt(p *line, n int64) {
	if p == &limbo || l.adjusted.Load() {
		l.setLate(p, n)
		return
	}
	store(&p.load, n)
	if l.line.Load() != p {
		l.setLate(p, n)
	}
}

// Value returns the load as it is published.
func (l *Load) Value() int64 {
	if n := atomic.LoadInt64(&l.line.Load().load); n >= retiredBelow {
		return n
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return atomic.LoadInt64(&l.line.Load().load)
}

// addLate adds when the move is over.
func (l *Load) addLate(n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	atomic.AddInt64(&l.line.Load().load, n)
}

// setLate sets when the move is over. It may have been too late for the line p.
func (l *Load) setLate(p *line, n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.line.Load()
	if p != &limbo && p != now {
		p.retire()
	}
	atomic.StoreInt64(&now.load, n+l.extras())
}

// A source is a reason for which the library adds to the load.
type source int

const (
	ofLatency source = iota
	ofRebalance
	ofDrain
	sources
)

// adjust makes n what the library adds for that reason. If the load isn't adjusted
// so far, a Set that is under way may still overwrite it.
func (l *Load) adjust(why source, n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n == l.extra[why] {
		return
	}
	l.adjusted.Store(true)
	atomic.AddInt64(&l.line.Load().load, n-l.extra[why])
	l.extra[why] = n
}

// extras is under mu.
func (l *Load) extras() (sum int64) {
	for _, n := range l.extra {
		sum += n
	}
	return sum
}

// move publishes in another line from now on, while others go on writing, and
// loses nothing of it. They pay for that with a comparison: no lock, no fence.
//
//  1. The line is taken away, and limbo put in its place. Who begins now finds it
//     retired and waits for the mutex.
//  2. A barrier on all processors. A Set that found its line still in place, after
//     it had stored there, stored before the barrier and is seen by step 3.
//     Any other Set sees that the line has gone, and sets again when the move is over.
//  3. The load is swapped for the mark retired. An Add that came before is in it. One
//     that comes later, because its goroutine was stopped between the two halves of
//     Add, sees from its own result that the line was retired, and adds again when the
//     move is over.
//  4. The new line gets the load, and is put in place.
//
// A Set that is too late for step 3 overwrites the mark. Until it sets again, which is
// when it also puts back the mark, Adds may be lost on the old line: they are
// simultaneous with it and count as before it, so it would have overwritten them
// anyway.
//
// Old lines stay mapped for ever, as a goroutine that was stopped may still write there.
func (l *Load) move(to *line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := l.line.Swap(&limbo)
	barrier()
	atomic.StoreInt64(&to.load, from.retire())
	l.line.Store(to)
}
