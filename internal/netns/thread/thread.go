// Package thread runs functions in other network namespaces.
//
// A network namespace belongs to a thread, not to a process, and the Go
// scheduler moves goroutines between threads as it likes. So each function runs
// in a goroutine of its own that keeps one thread to itself. The thread goes
// back to the scheduler only after it has returned to the namespace it came
// from; a thread that can't return ends with its goroutine.
package thread

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Current opens the network namespace of the calling thread. A caller that did
// not lock its goroutine to a thread may be on another one afterwards.
func Current() (*os.File, error) {
	// /proc/self would be the main thread's.
	return os.Open("/proc/thread-self/ns/net")
}

// In runs f in a network namespace and returns what f returned. Goroutines that
// f starts are elsewhere; processes that f starts are in the namespace. f may
// end its goroutine, as testing.T.FailNow does: the caller's ends with it.
func In(namespace *os.File, f func() error) error {
	return visit(func() error {
		if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the network namespace %s: %w%s", namespace.Name(), err, hint(err))
		}
		return f()
	})
}

// New makes a network namespace, which lives for as long as the file is open or
// something runs in it.
func New() (*os.File, error) {
	var made *os.File
	err := visit(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w%s", err, hint(err))
		}
		var err error
		made, err = Current()
		return err
	})
	return made, err
}

func hint(err error) string {
	if err == unix.EPERM {
		return ": run as root or with CAP_SYS_ADMIN"
	}
	return ""
}

// visit runs f, which changes its thread's namespace, and undoes the change.
func visit(f func() error) error {
	var (
		result   error
		returned bool
		done     = make(chan struct{})
	)
	go func() {
		defer close(done)
		runtime.LockOSThread()

		home, err := Current()
		if err != nil {
			runtime.UnlockOSThread()
			result, returned = fmt.Errorf("open the network namespace of this thread: %w", err), true
			return
		}
		// Deferred, since f may leave through runtime.Goexit.
		defer func() {
			defer home.Close()
			if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err == nil {
				runtime.UnlockOSThread()
			}
			// Otherwise the goroutine ends locked, and its thread with it.
			// That is no error of f's work, which is done.
		}()

		result = f()
		returned = true
	}()
	<-done

	if !returned {
		runtime.Goexit()
	}
	return result
}
