package pick

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// listeners share an address. They are plain sockets: 256 of them would only
// keep Go's own poller busy.
type listeners struct {
	address netip.AddrPort
	fds     []int
}

// listen makes n listeners on a free port of 127.0.0.1.
func listen(n int) (l *listeners, err error) {
	l = new(listeners)
	at := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	for range n {
		fd, err := listenAt(at)
		if err != nil {
			l.close()
			return nil, fmt.Errorf("listen: %w", err)
		}
		l.fds = append(l.fds, fd)
		name, err := unix.Getsockname(fd)
		if err != nil {
			l.close()
			return nil, fmt.Errorf("read a listener's address: %w", err)
		}
		at = name.(*unix.SockaddrInet4)
	}
	l.address = netip.AddrPortFrom(netip.AddrFrom4(at.Addr), uint16(at.Port))
	return l, nil
}

func listenAt(at *unix.SockaddrInet4) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1), unix.Bind(fd, at))
	if err == nil {
		err = unix.Listen(fd, 4096)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (l *listeners) close() {
	for _, fd := range l.fds {
		unix.Close(fd)
	}
}

// A server accepts for all rows, in between their turns, and closes what its clients left.
type server struct {
	epoll     int
	listening map[int]bool
	accepted  map[int]bool
}

func newServer() (*server, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make an epoll: %w", err)
	}
	return &server{epoll: epoll, listening: make(map[int]bool), accepted: make(map[int]bool)}, nil
}

func (s *server) watch(l *listeners) error {
	for _, fd := range l.fds {
		s.listening[fd] = true
		if err := s.add(fd, unix.EPOLLIN); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) add(fd int, events uint32) error {
	if err := unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("watch a socket: %w", err)
	}
	return nil
}

// serve does what there is to do, and waits for nothing.
func (s *server) serve() error {
	var events [256]unix.EpollEvent
	for {
		n, err := unix.EpollWait(s.epoll, events[:], 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return err
		}
		for _, event := range events[:n] {
			if err := s.handle(int(event.Fd)); err != nil {
				return err
			}
		}
	}
}

func (s *server) handle(fd int) error {
	if !s.listening[fd] {
		delete(s.accepted, fd)
		unix.Close(fd)
		return nil
	}
	for {
		client, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		if errors.Is(err, unix.ECONNABORTED) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		s.accepted[client] = true
		if err := s.add(client, unix.EPOLLRDHUP); err != nil {
			return err
		}
	}
}

func (s *server) close() {
	for fd := range s.accepted {
		unix.Close(fd)
	}
	unix.Close(s.epoll)
}
