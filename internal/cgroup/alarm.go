package cgroup

import (
	"sync"

	"golang.org/x/sys/unix"
)

// alarm is a descriptor that ends a poll from another goroutine.
type alarm struct {
	mu   sync.Mutex
	fd   int
	gone bool
}

func newAlarm() (*alarm, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return &alarm{fd: fd}, nil
}

// ring may come after close: a context that ends late must not write into
// whatever took over the number of the descriptor.
func (a *alarm) ring() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.gone {
		_, _ = unix.Write(a.fd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

func (a *alarm) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gone = true
	unix.Close(a.fd)
}
