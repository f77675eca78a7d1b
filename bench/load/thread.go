package load

import (
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// onThread runs f on a thread of its own, which wakes as exactly as the kernel
// can. The thread ends with f.
func onThread(f func()) {
	room.enter()
	defer room.leave()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: what was set goes with the thread
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
		f()
	}()
	<-done
}

// room keeps the Go scheduler from making clients wait for each other: a thread
// that comes back from a system call needs a free P, and one that another thread
// holds in a system call of its own is only taken away after a while, up to 10 ms.
var room clientRoom

type clientRoom struct {
	mu      sync.Mutex
	clients int
}

// spareProcs are for all else that the process does.
const spareProcs = 4

func (r *clientRoom) enter() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clients++
	if runtime.GOMAXPROCS(0) < r.clients+spareProcs {
		runtime.GOMAXPROCS(r.clients + spareProcs)
	}
}

func (r *clientRoom) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clients--
}
