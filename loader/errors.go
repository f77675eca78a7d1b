package loader

import (
	"errors"
	"fmt"
)

var (
	// ErrNotSupported: this kernel, or this user, can't do it. See UnsupportedError.
	ErrNotSupported = errors.New("not supported")
	// ErrFull: no slot, group or app number is free.
	ErrFull = errors.New("full")
	// ErrSlotTaken: the slot serves another socket.
	ErrSlotTaken = errors.New("slot is taken")
	// ErrNoSlot: there is no such slot, or nobody is in it.
	ErrNoSlot = errors.New("no such slot")
	// ErrMPTCP: the socket is a Multipath TCP one, which can't be steered.
	ErrMPTCP = errors.New("multipath TCP socket")
	// ErrNotListening: the socket is no listening TCP socket.
	ErrNotListening = errors.New("not a listening TCP socket")
	// ErrNotShared: the socket listens without SO_REUSEPORT.
	ErrNotShared = errors.New("listens without SO_REUSEPORT")
	// ErrSteered: the socket is steered by a program that is not ours.
	ErrSteered = errors.New("steered by another program")
)

// An UnsupportedError names what is missing. It wraps ErrNotSupported and the
// kernel's own error.
type UnsupportedError struct {
	Feature   string // what is missing
	MinKernel string // the first Linux version that has it; "" if it is a matter of privilege or configuration
	Advice    string // what to do; may be empty
	Err       error  // what the kernel said
}

func (e *UnsupportedError) Error() string {
	text := e.Feature + " is not available here"
	if e.MinKernel != "" {
		text += " (needs Linux " + e.MinKernel + ")"
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	if e.Advice != "" {
		text += "; " + e.Advice
	}
	return text
}

func (e *UnsupportedError) Unwrap() []error { return []error{ErrNotSupported, e.Err} }

// wrap adds what was being done to err, in place; nil stays nil.
func wrap(err *error, format string, args ...any) {
	if *err != nil {
		*err = fmt.Errorf(format+": %w", append(args, *err)...)
	}
}
