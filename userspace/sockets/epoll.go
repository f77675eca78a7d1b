package sockets

import (
	"bytes"
	"fmt"
	"path"
	"strconv"

	"golang.org/x/sys/unix"
)

// polled returns which of the wanted sockets are in an epoll set of the
// process, and the lowest descriptor of such a set. A socket is in the set by
// what it is, not by the descriptor's number, which may mean another file by now
// or never have meant this process.
func (w *walk) polled(dir int, open descriptors) (map[uint32]int, error) {
	polled := make(map[uint32]int)
	for _, fd := range open.polls {
		text, err := readAt(dir, path.Join("fdinfo", fd))
		if vanished(err) {
			continue // closed meanwhile
		}
		if err != nil {
			return nil, err
		}
		set, err := strconv.Atoi(fd)
		if err != nil {
			return nil, err
		}
		for line := range bytes.Lines(text) {
			inode, device, ok := parsePolled(line)
			if !ok || device != w.socketDevice || inode > 1<<32-1 {
				continue
			}
			if lowest, again := polled[uint32(inode)]; !again || set < lowest {
				polled[uint32(inode)] = set
			}
		}
	}
	return polled, nil
}

// parsePolled reads an entry of an epoll set, a line such as
//
//	tfd:        6 events:       19 data: 7f2c18c5d010  pos:0 ino:1b2f sdev:8
func parsePolled(line []byte) (inode, device uint64, ok bool) {
	if !bytes.HasPrefix(line, []byte("tfd:")) {
		return 0, 0, false
	}
	inode, inodeOK := hexAfter(line, " ino:")
	device, deviceOK := hexAfter(line, " sdev:")
	return inode, device, inodeOK && deviceOK
}

func hexAfter(line []byte, label string) (uint64, bool) {
	_, rest, found := bytes.Cut(line, []byte(label))
	if !found {
		return 0, false
	}
	end := bytes.IndexAny(rest, " \n")
	if end < 0 {
		end = len(rest)
	}
	value, err := strconv.ParseUint(string(rest[:end]), 16, 64)
	return value, err == nil
}

// socketDevice returns the number of the kernel's filesystem of sockets, as an
// epoll set's fdinfo has it.
func socketDevice() (uint64, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("make a socket: %w", err)
	}
	defer unix.Close(fd)

	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return 0, fmt.Errorf("stat a socket: %w", err)
	}
	// The kernel's own form has 20 bits for the minor number.
	return uint64(unix.Major(stat.Dev))<<20 | uint64(unix.Minor(stat.Dev)), nil
}
