package wire

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// Peer is who connected, as the kernel has it: the process that called
// connect(), with the user and the groups that it had then. Another process to
// which it gave its connection, or which wrote into it unknowingly, doesn't
// count.
type Peer struct {
	// PID is 0 if the process can't be seen from our pid namespace.
	PID      int
	UID, GID uint32
	// Groups are the supplementary ones.
	Groups []uint32

	conn *net.UnixConn
}

// newPeer asks the kernel.
func newPeer(conn *net.UnixConn) (*Peer, error) {
	p := &Peer{conn: conn}
	err := control(conn, func(fd int) error {
		who, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			return err
		}
		p.PID, p.UID, p.GID = int(who.Pid), who.Uid, who.Gid
		p.Groups, err = peerGroups(fd)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find out who is at the other end: %w", err)
	}
	return p, nil
}

func control(conn *net.UnixConn, f func(fd int) error) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil {
		return err
	}
	return failed
}

// IsUser tells whether the peer is one of the users, or root.
func (p *Peer) IsUser(uids ...uint32) bool { return p.UID == 0 || slices.Contains(uids, p.UID) }

// InGroup tells whether the peer is in one of the groups.
func (p *Peer) InGroup(gids ...uint32) bool {
	return slices.ContainsFunc(gids, func(gid uint32) bool { return gid == p.GID || slices.Contains(p.Groups, gid) })
}

// Pidfd returns a descriptor of the peer's process, which can't come to mean
// another one. It is readable when the process has ended, and doesn't block; the
// caller closes it. It must be called while the connection is open. The
// error wraps [os.ErrProcessDone] if the process is gone.
func (p *Peer) Pidfd() (*os.File, error) {
	fd := -1
	err := control(p.conn, func(socket int) (err error) {
		fd, err = unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
		if errors.Is(err, unix.ENOPROTOOPT) { // before Linux 6.5
			fd, err = p.openPidfd(socket)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open process %d, the peer: %w", p.PID, ended(err))
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), fmt.Sprintf("pidfd of %d", p.PID)), nil
}

// openPidfd opens the process by its number. Its connection closes before the
// number can be another's.
func (p *Peer) openPidfd(socket int) (int, error) {
	if p.PID == 0 {
		return -1, errors.New("it can't be seen from this pid namespace")
	}
	fd, err := unix.PidfdOpen(p.PID, unix.PIDFD_NONBLOCK)
	if err != nil {
		return -1, err
	}
	if hungUp(socket) {
		unix.Close(fd)
		return -1, unix.ESRCH
	}
	return fd, nil
}

func hungUp(socket int) bool {
	poll := []unix.PollFd{{Fd: int32(socket)}}
	for {
		_, err := unix.Poll(poll, 0)
		if !errors.Is(err, unix.EINTR) {
			return err != nil || poll[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
		}
	}
}

// ended knows how kernels say that a process is gone.
func ended(err error) error {
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENODATA) {
		return fmt.Errorf("%w: %w", os.ErrProcessDone, err)
	}
	return err
}
