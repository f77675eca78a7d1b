package sockets

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// walk goes through /proc once. It stays off os.ReadDir and os.Readlink, which
// cost several times what the kernel's part does, and goes through directory
// descriptors: they stay with their process, where a path with a PID in it may
// come to mean another one.
type walk struct {
	wanted map[uint32]bool
	found  map[uint32][]Holder
	hidden int

	socketDevice uint64
	entries      [16 << 10]byte // of a directory
	link         [64]byte
	names        []string
}

// descriptors is what a process has that matters here.
type descriptors struct {
	sockets map[uint32]int // the wanted ones: inode to lowest descriptor
	polls   []string       // descriptors of epoll sets
}

func (w *walk) processes() error {
	device, err := socketDevice()
	if err != nil {
		return err
	}
	w.socketDevice = device

	proc, err := os.Open("/proc")
	if err != nil {
		return err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("list /proc: %w", err)
	}

	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue // not a process
		}
		if err := w.process(int(proc.Fd()), pid, name); err != nil {
			return fmt.Errorf("look into process %d: %w", pid, err)
		}
	}
	return nil
}

// process adds what one process holds of the wanted sockets, or that it hides
// it, or nothing if it is gone.
func (w *walk) process(proc, pid int, name string) error {
	dir, err := openAt(proc, name, unix.O_PATH|unix.O_DIRECTORY)
	if err == nil {
		defer unix.Close(dir)
		err = w.descriptorsOf(dir, pid)
	}
	switch {
	case vanished(err):
		return nil
	case errors.Is(err, fs.ErrPermission):
		// The links of a process that just ended are forbidden ones, too.
		if s, err := readStat(dir); !vanished(err) && !s.dead {
			w.hidden++
		}
		return nil
	}
	return err
}

func (w *walk) descriptorsOf(dir, pid int) error {
	open, err := w.descriptors(dir)
	if err != nil || len(open.sockets) == 0 {
		return err
	}
	about, err := readStat(dir)
	if err != nil {
		return err
	}
	polled, err := w.polled(dir, open)
	if err != nil {
		return err
	}
	accepting := accepting(dir, open, polled)
	for inode, fd := range open.sockets {
		set, inSet := polled[inode]
		w.found[inode] = append(w.found[inode], Holder{
			PID:       pid,
			FD:        fd,
			Comm:      about.comm,
			Start:     about.start,
			PollsIt:   inSet,
			Set:       set,
			AcceptsIt: accepting[fd],
		})
	}
	return nil
}

// descriptors reads the links in the fd folder of a process.
func (w *walk) descriptors(dir int) (descriptors, error) {
	var open descriptors
	folder, err := openAt(dir, "fd", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return open, err
	}
	defer unix.Close(folder)

	for {
		n, err := ignoringEINTR(func() (int, error) { return unix.ReadDirent(folder, w.entries[:]) })
		if err != nil || n == 0 {
			return open, err
		}
		_, _, w.names = unix.ParseDirent(w.entries[:n], -1, w.names[:0])
		for _, name := range w.names {
			n, err := unix.Readlinkat(folder, name, w.link[:])
			if vanished(err) {
				continue // closed meanwhile
			}
			if err != nil {
				return open, err
			}
			w.descriptor(&open, name, w.link[:n])
		}
	}
}

func (w *walk) descriptor(open *descriptors, name string, link []byte) {
	if string(link) == "anon_inode:[eventpoll]" {
		open.polls = append(open.polls, name)
		return
	}
	inode, ok := socketInode(link)
	if !ok || !w.wanted[inode] {
		return
	}
	fd, err := strconv.Atoi(name)
	if err != nil {
		return
	}
	if open.sockets == nil {
		open.sockets = make(map[uint32]int)
	}
	if lowest, again := open.sockets[inode]; !again || fd < lowest {
		open.sockets[inode] = fd
	}
}

// socketInode reads a link like socket:[4026].
func socketInode(link []byte) (uint32, bool) {
	digits, found := bytes.CutPrefix(link, []byte("socket:["))
	if !found {
		return 0, false
	}
	digits, found = bytes.CutSuffix(digits, []byte("]"))
	if !found {
		return 0, false
	}
	inode, err := strconv.ParseUint(string(digits), 10, 32)
	return uint32(inode), err == nil
}
