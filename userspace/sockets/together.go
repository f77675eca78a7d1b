package sockets

import "sync"

// together is everybody in this process who looks for holders just now. Who comes
// while one walks through /proc shares the next walk: a hundred who look at the
// same time cost two.
var together walks

type walks struct {
	mu      sync.Mutex
	waiting []*errand
	walking bool
}

// An errand is what one of them wants to know.
type errand struct {
	inodes []uint32
	walk   *walk
	err    error
	done   chan struct{}
}

// holders returns a walk that began after the call, and has looked for these
// sockets among others.
func (w *walks) holders(inodes []uint32) (*walk, error) {
	e := &errand{inodes: inodes, done: make(chan struct{})}
	w.mu.Lock()
	w.waiting = append(w.waiting, e)
	walks := !w.walking
	w.walking = true
	w.mu.Unlock()
	for walks && w.one() {
	}
	<-e.done
	return e.walk, e.err
}

// one is a walk for all who wait now; false: nobody does.
func (w *walks) one() bool {
	w.mu.Lock()
	errands := w.waiting
	w.waiting, w.walking = nil, len(errands) > 0
	w.mu.Unlock()
	if len(errands) == 0 {
		return false
	}
	all := &walk{wanted: make(map[uint32]bool), found: make(map[uint32][]Holder)}
	for _, e := range errands {
		for _, inode := range e.inodes {
			all.wanted[inode] = true
		}
	}
	err := all.processes()
	for _, e := range errands {
		e.walk, e.err = all, err
		close(e.done)
	}
	return true
}
