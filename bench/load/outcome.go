package load

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// An Outcome is what became of a request.
type Outcome struct {
	At      time.Duration // when it was due
	Late    time.Duration // how long after that the client got to it
	Latency time.Duration // from when it was due to the whole answer, or to the failure
	PID     int           // of the process that answered
	Err     error         // nil: answered
}

// How a request fails. Errors of outcomes wrap one of them, or the error of the
// context that ended the run.
var (
	ErrRefused = errors.New("refused")
	ErrReset   = errors.New("reset, or closed before the whole answer")
	ErrTimeout = errors.New("not answered in time")
	ErrWrong   = errors.New("not the answer that was expected")
	ErrClient  = errors.New("the client itself couldn't") // such as: no descriptor is free
)

// failure is which of them a system call's error means, on a connection that
// there is or that is being made.
func failure(err error) error {
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return ErrRefused
	case errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNABORTED):
		return ErrReset
	case errors.Is(err, unix.ETIMEDOUT):
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	}
	return fmt.Errorf("%w: %w", ErrClient, err)
}
