package contender

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// accepts tells whether a process accepts from a socket: its epoll watches it,
// or a thread of it waits in accept, or it has accepted something, and is too
// busy for either.
func accepts(pid int, inode uint64) bool {
	descriptors, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return false
	}
	for _, fd := range descriptors {
		target, _ := os.Readlink(fd)
		switch {
		case strings.HasSuffix(target, "[eventpoll]") && watches(pid, filepath.Base(fd), inode):
			return true
		case isConnection(target, inode):
			return true
		}
	}
	return inAccept(pid, inode)
}

// watches tells whether an epoll of a process has the socket.
func watches(pid int, epoll string, inode uint64) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, epoll))
	return err == nil && strings.Contains(string(text), fmt.Sprintf(" ino:%x ", inode))
}

// isConnection takes any other socket for one that was accepted.
func isConnection(target string, inode uint64) bool {
	return strings.HasPrefix(target, "socket:[") && target != socketLink(inode)
}

func socketLink(inode uint64) string { return fmt.Sprintf("socket:[%d]", inode) }

// inAccept tells whether a thread of a process waits in accept on the socket.
func inAccept(pid int, inode uint64) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	for _, thread := range threads {
		text, _ := os.ReadFile(thread)
		var number, fd int
		if n, _ := fmt.Sscanf(string(text), "%d 0x%x", &number, &fd); n < 2 {
			continue // it runs
		}
		target, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
		if (number == unix.SYS_ACCEPT || number == unix.SYS_ACCEPT4) && target == socketLink(inode) {
			return true
		}
	}
	return false
}
