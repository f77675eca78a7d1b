package contender

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// backlog is that of every listener that can have it; the kernel takes no more
// than net.core.somaxconn, by default the same.
const backlog = 4096

// bound is a socket at a port of all addresses of both families, and its
// number in the file system, by which processes that hold it can be told.
func bound(port int, reuseport bool) (file *os.File, inode uint64, err error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, 0, os.NewSyscallError("socket", err)
	}
	file = os.NewFile(uintptr(fd), "listener")
	err = unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_V6ONLY, 0)
	if reuseport {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	} else {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	}
	var stat unix.Stat_t
	err = errors.Join(err, unix.Bind(fd, &unix.SockaddrInet6{Port: port}), unix.Fstat(fd, &stat))
	if err != nil {
		file.Close()
		return nil, 0, err
	}
	return file, stat.Ino, nil
}
