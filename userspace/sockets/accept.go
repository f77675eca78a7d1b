package sockets

import (
	"bytes"
	"os"
	"path"
	"strconv"

	"golang.org/x/sys/unix"
)

// accepting returns the descriptors that threads of the process are blocked in
// accept on. It doesn't look when all its sockets are polled, and what it can't
// see is not there: the answer only ranks the holders.
func accepting(dir int, open descriptors, polled map[uint32]int) map[int]bool {
	found := make(map[int]bool)
	if allPolled(open, polled) {
		return found
	}
	folder, err := openAt(dir, "task", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return found
	}
	tasks := os.NewFile(uintptr(folder), "task")
	defer tasks.Close()

	names, err := tasks.Readdirnames(-1)
	if err != nil {
		return found
	}
	for _, name := range names {
		text, err := readAt(folder, path.Join(name, "syscall"))
		if err != nil {
			continue
		}
		if fd, ok := parseAccept(text); ok {
			found[fd] = true
		}
	}
	return found
}

func allPolled(open descriptors, polled map[uint32]int) bool {
	for inode := range open.sockets {
		if _, in := polled[inode]; !in {
			return false
		}
	}
	return true
}

// parseAccept reads the system call that a thread is blocked in: its number,
// and its arguments in hexadecimal.
func parseAccept(text []byte) (fd int, ok bool) {
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0, false
	}
	number, err := strconv.Atoi(string(fields[0]))
	if err != nil || (number != unix.SYS_ACCEPT && number != unix.SYS_ACCEPT4) {
		return 0, false
	}
	argument, found := bytes.CutPrefix(fields[1], []byte("0x"))
	value, err := strconv.ParseUint(string(argument), 16, 64)
	return int(uint32(value)), found && err == nil
}
