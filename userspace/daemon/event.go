package daemon

import "sync"

// An event is something that happens once.
type event struct {
	once sync.Once
	done chan struct{}
}

func newEvent() *event { return &event{done: make(chan struct{})} }

func (e *event) set() { e.once.Do(func() { close(e.done) }) }
