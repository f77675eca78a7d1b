package contender

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// backlog is that of every listener that can have it; the kernel takes no more
// than net.core.somaxconn, by default the same.
const backlog = 4096

// bound is a socket at a port of all addresses of both families.
func bound(port int, reuseport bool) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	share := unix.SO_REUSEADDR
	if reuseport {
		share = unix.SO_REUSEPORT
	}
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_V6ONLY, 0),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, share, 1), unix.Bind(fd, &unix.SockaddrInet6{Port: port}))
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("bind port %d: %w", port, err)
	}
	return os.NewFile(uintptr(fd), "listener"), nil
}
