package sockets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// ErrChanged says that a descriptor is not of the socket that it was of.
var ErrChanged = errors.New("another socket by now")

// Socket is a descriptor of a socket that also others have. It is no os.File,
// because an os.File would put a socket that doesn't block into this process's
// own epoll set: it would be woken for each connection to somebody else's
// server, and look like one that serves it. So don't make one of it either.
//
// It keeps the socket open until it is closed, also when its server ends.
type Socket struct {
	fd int
}

// FD returns the descriptor, which stays the Socket's.
func (s *Socket) FD() int { return s.fd }

// Close closes the descriptor. A second Close does nothing.
func (s *Socket) Close() error {
	if s.fd < 0 {
		return nil
	}
	fd := s.fd
	s.fd = -1
	return os.NewSyscallError("close", unix.Close(fd))
}

// Fetch duplicates a descriptor of another process into this one. It wraps
// os.ErrProcessDone when the process is gone, fs.ErrNotExist when it has no
// such descriptor, fs.ErrPermission when it may not be looked into.
func Fetch(pid, fd int) (*Socket, error) {
	fetched, err := fetch(pid, fd)
	if err != nil {
		return nil, fmt.Errorf("fetch descriptor %d of process %d: %w", fd, pid, err)
	}
	return &Socket{fd: fetched}, nil
}

func fetch(pid, fd int) (int, error) {
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, explainFetch(err)
	}
	defer unix.Close(process)

	fetched, err := unix.PidfdGetfd(process, fd, 0) // close-on-exec by itself
	if err != nil {
		return -1, explainFetch(err)
	}
	return fetched, nil
}

func explainFetch(err error) error {
	switch err {
	case unix.ESRCH, unix.EINVAL:
		return os.ErrProcessDone
	case unix.EBADF:
		return fmt.Errorf("it is closed: %w", fs.ErrNotExist)
	case unix.EPERM:
		return fmt.Errorf("%w: run as root or with CAP_SYS_PTRACE", err)
	}
	return err
}

// Fetch duplicates the listener's descriptor of one of its holders. On top of
// what the function Fetch does, it makes sure that the descriptor is of this
// listener, and wraps ErrChanged when it is not.
func (l Listener) Fetch(h Holder) (*Socket, error) {
	s, err := Fetch(h.PID, h.FD)
	if err != nil {
		return nil, err
	}
	same, err := l.is(s.fd)
	if err == nil && !same {
		err = ErrChanged
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("fetch the listener %s, descriptor %d of process %d: %w", l.Address, h.FD, h.PID, err)
	}
	return s, nil
}

// is tells whether a descriptor is the listener's.
func (l Listener) is(fd int) (bool, error) {
	if l.MPTCP {
		// Its cookie is that of the socket underneath.
		inode, _, err := owner(fd)
		return inode == l.Inode, err
	}
	cookie, err := Cookie(fd)
	return cookie == l.Cookie, err
}
