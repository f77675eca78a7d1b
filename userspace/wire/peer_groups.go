package wire

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mostGroups is the kernel's own maximum.
const mostGroups = 65536

// peerGroups returns the peer's supplementary groups.
func peerGroups(fd int) ([]uint32, error) {
	for room := 32; ; room = mostGroups {
		groups := make([]uint32, room)
		size := uint32(4 * room)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			return groups[: size/4 : size/4], nil
		case errno == unix.ENODATA: // the peer had none
			return nil, nil
		case errno != unix.ERANGE || room == mostGroups:
			return nil, errno
		}
	}
}
