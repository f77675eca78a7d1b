package sockets

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// Holder is a process that has a descriptor of a socket.
type Holder struct {
	PID int
	// FD is the lowest of its descriptors of the socket.
	FD int
	// Comm is the program's name as the kernel cut it, at most 15 bytes, which
	// can be any that the program chose.
	Comm string
	// Start is the process's start time, in clock ticks since boot.
	Start uint64
	// PollsIt tells that the socket is in one of the process's epoll sets.
	PollsIt bool
	// Set is the lowest descriptor of those epoll sets, if PollsIt. Where each
	// thread of a process has a set of its own, it tells the threads apart.
	Set int
	// AcceptsIt tells that a thread of the process was blocked in accept(2) on
	// the socket. It is not looked for where PollsIt is true.
	AcceptsIt bool
}

// HiddenError says that sockets have no holder to be seen, and that some
// processes could not be looked into. It wraps fs.ErrPermission.
type HiddenError struct {
	Sockets   int // that have no holder to be seen
	Processes int // that hide their descriptors
}

func (e *HiddenError) Error() string {
	return fmt.Sprintf("look for the holders of %d sockets: %d processes hide their descriptors: run as root or with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH",
		e.Sockets, e.Processes)
}

func (e *HiddenError) Unwrap() error { return fs.ErrPermission }

// Holders finds the processes that hold the sockets with these inodes, sorted
// by PID. Inode 0 is nobody's, and an inode that nobody holds is not in the
// result.
//
// It reads the descriptors of every process there is. Processes that end
// meanwhile are left out. So are those that hide theirs: where that leaves
// sockets without any holder, the error is a *HiddenError, and the result is
// good for the others.
//
// A holder's epoll sets are read too, and the kernel keeps others from changing
// a set while it writes it out: some milliseconds where it has 10,000 entries.
//
// Several goroutines that look at the same time share what they find.
func Holders(inodes []uint32) (map[uint32][]Holder, error) {
	wanted := slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(inodes))), func(inode uint32) bool { return inode == 0 })
	found := make(map[uint32][]Holder, len(wanted))
	if len(wanted) == 0 {
		return found, nil
	}
	all, err := together.holders(wanted)
	if err != nil {
		return nil, fmt.Errorf("look for the holders of sockets: %w", err)
	}
	for _, inode := range wanted {
		if holders := slices.Clone(all.found[inode]); len(holders) > 0 {
			slices.SortFunc(holders, func(a, b Holder) int { return cmp.Compare(a.PID, b.PID) })
			found[inode] = holders
		}
	}
	if missing := len(wanted) - len(found); missing > 0 && all.hidden > 0 {
		return found, &HiddenError{Sockets: missing, Processes: all.hidden}
	}
	return found, nil
}

// Server chooses, of the holders of one listener, the one that serves it. It is
// the zero Holder when there is none. The rule, in this order:
//
//  1. a process that has it in an epoll set: of nginx the master holds all
//     listeners, and each worker polls its own;
//  2. a process blocked in accept on it;
//  3. any process that holds it: the only one, mostly. Servers that fork
//     serve in the child;
//  4. the calling process, which holds what it fetched.
//
// Of several in the same place, the youngest: after a reload the older ones are
// on their way out. So a socket that several processes accept from is shown
// with one of them; the kernel knows no better either.
func Server(holders []Holder) Holder {
	if len(holders) == 0 {
		return Holder{}
	}
	return slices.MaxFunc(holders, func(a, b Holder) int {
		return cmp.Or(
			cmp.Compare(a.rank(), b.rank()),
			cmp.Compare(a.Start, b.Start),
			cmp.Compare(a.PID, b.PID), // started in the same tick
		)
	})
}

func (h Holder) rank() int {
	switch {
	case h.PollsIt:
		return 3
	case h.AcceptsIt:
		return 2
	case h.PID != os.Getpid():
		return 1
	}
	return 0
}
