package app

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// backlog is what net.core.somaxconn is by default; the kernel takes no more.
const backlog = 4096

// Listen gives the listener that the environment names: the inherited one of
// LISTEN_FD, or else one at PORT, of all addresses. It isn't a multipath one, as
// Go's own are, which cost more and can't be steered.
func Listen() (*os.File, error) {
	if number := os.Getenv("LISTEN_FD"); number != "" {
		return inherited(number)
	}
	port, err := strconv.ParseUint(os.Getenv("PORT"), 10, 16)
	if err != nil {
		return nil, fmt.Errorf("PORT or LISTEN_FD must tell where to listen: %w", err)
	}
	return at(int(port))
}

func inherited(number string) (*os.File, error) {
	fd, err := strconv.Atoi(number)
	if err != nil {
		return nil, fmt.Errorf("LISTEN_FD: %w", err)
	}
	unix.CloseOnExec(fd)
	return listening(fd)
}

func at(port int) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	for _, option := range [][3]int{{unix.SOL_IPV6, unix.IPV6_V6ONLY, 0}, {unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}} {
		if err := unix.SetsockoptInt(fd, option[0], option[1], option[2]); err != nil {
			return nil, os.NewSyscallError("setsockopt", err)
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrInet6{Port: port}); err != nil {
		return nil, fmt.Errorf("bind port %d: %w", port, err)
	}
	return listening(fd)
}

func listening(fd int) (*os.File, error) {
	if err := unix.Listen(fd, backlog); err != nil {
		return nil, fmt.Errorf("listen on descriptor %d: %w", fd, err)
	}
	return os.NewFile(uintptr(fd), "listener"), nil
}
