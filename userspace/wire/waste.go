package wire

import (
	"os"
	"sync"
	"time"
)

// waste closes descriptors that came from others. To close one may last, as long
// as its sender likes: a file of a file system that is theirs, a socket that lingers.
type waste struct {
	mu   sync.Mutex
	left int
	none chan struct{} // closed when left becomes 0
}

// close closes the files and then calls done, and waits for neither, unless
// there are none.
func (w *waste) close(files []*os.File, done func()) {
	if len(files) == 0 {
		done()
		return
	}
	w.mu.Lock()
	if w.left == 0 {
		w.none = make(chan struct{})
	}
	w.left++
	w.mu.Unlock()
	go func() {
		closeAll(files)
		done()
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.left--; w.left == 0 {
			close(w.none)
		}
	}()
}

// wait gives up after a while.
func (w *waste) wait(patience time.Duration) {
	w.mu.Lock()
	left, none := w.left, w.none
	w.mu.Unlock()
	if left == 0 {
		return
	}
	select {
	case <-none:
	case <-time.After(patience):
	}
}
