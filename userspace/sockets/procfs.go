package sockets

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

func readStat(dir int) (stat, error) {
	text, err := readAt(dir, "stat")
	if err != nil {
		return stat{}, err
	}
	return parseStat(text)
}

func openAt(dir int, name string, flags int) (int, error) {
	return ignoringEINTR(func() (int, error) { return unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0) })
}

func readAt(dir int, name string) ([]byte, error) {
	fd, err := openAt(dir, name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	return io.ReadAll(file)
}

func ignoringEINTR(f func() (int, error)) (int, error) {
	for {
		if n, err := f(); err != unix.EINTR {
			return n, err
		}
	}
}
