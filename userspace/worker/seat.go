package worker

import (
	"math/rand/v2"
	"sync/atomic"
)

// sit takes a place in a group: from now on the load is published there.
func (l *Listener) sit(group string, slot int, shared *lines) {
	old := l.place.Load()
	if old != nil && old.lines.same(shared, old.slot) {
		unmap(shared)
		shared = old.lines
	}
	now := &place{group, slot, shared}
	to := now.line()
	if old == nil || old.line() != to {
		atomic.StoreUint64(&to.requests, l.finished.Load())
		if !l.draining.Load() {
			atomic.StoreUint64(&to.beat, l.beats.Add(1)) // what stood there was another worker's
		}
		l.load.move(to)
	}
	l.place.Store(now)
	l.heart.Do(func() { l.tasks.Go(l.beat) })
}

// same tells whether two mappings are of one memory, by a mark in the line of a
// slot that was this worker's. Nobody else looks at it.
func (a *lines) same(b *lines, slot int) bool {
	mark := rand.Uint64()
	atomic.StoreUint64(&a[slot].mark, mark)
	return atomic.LoadUint64(&b[slot].mark) == mark
}
