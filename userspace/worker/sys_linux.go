package worker

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// share has the socket share its port with other workers.
func share(_, _ string, conn syscall.RawConn) error {
	var failed error
	if err := conn.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}); err != nil {
		return err
	}
	return failed
}

const (
	// shutPatience is for how long a listener that was shut is looked at again, every
	// shutAgain: longer than a daemon is kept from its CPU between two system calls.
	shutPatience = 5 * time.Second
	shutAgain    = time.Millisecond
)

// listensAgain tells whether an accept that failed can be tried again. A daemon
// that takes the worker for hung gives its queue to others, and for that shuts
// the listener for some microseconds. A worker that accepts just then sees that.
func (l *Listener) listensAgain(err error) bool {
	if !errors.Is(err, unix.EINVAL) {
		return false
	}
	raw, err := l.tcp.SyscallConn()
	if err != nil {
		return false
	}
	for began := time.Now(); time.Since(began) < shutPatience; time.Sleep(shutAgain) {
		listens := 0
		if raw.Control(func(fd uintptr) { listens, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN) }) != nil || err != nil {
			return false
		}
		if listens != 0 {
			return true
		}
	}
	return false
}

// queued is how many connections a listener's accept queue has.
func queued(fd uintptr) int {
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0
	}
	return int(info.Unacked) // of a listening socket it is that
}

// Commands of membarrier(2).
const (
	barrierGlobal            = 1 << 0
	barrierExpedited         = 1 << 3
	barrierRegisterExpedited = 1 << 4
)

var registerBarrier = sync.OnceValue(func() bool {
	_, _, err := unix.Syscall(unix.SYS_MEMBARRIER, barrierRegisterExpedited, 0, 0)
	return err == 0
})

// barrier returns when every processor that runs a thread of this process has
// passed a full memory barrier.
func barrier() {
	if registerBarrier() {
		if _, _, err := unix.Syscall(unix.SYS_MEMBARRIER, barrierExpedited, 0, 0); err == 0 {
			return
		}
	}
	if _, _, err := unix.Syscall(unix.SYS_MEMBARRIER, barrierGlobal, 0, 0); err == 0 {
		return
	}
	// A sandbox forbids the call. A store leaves its processor within nanoseconds.
	time.Sleep(10 * time.Millisecond)
}

// mapFD maps a group's loads.
func mapFD(fd int) (*lines, error) {
	memory, err := unix.Mmap(fd, 0, linesSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap the loads", err)
	}
	return (*lines)(unsafe.Pointer(&memory[0])), nil
}

// unmap is for lines that nobody has used.
func unmap(shared *lines) {
	_ = unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(shared)), linesSize))
}
