package membership

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/userspace/sockets"
)

// unseenDescriptors are how many are tried of a process whose list can't be read.
const unseenDescriptors = 1024

// withListener calls do with a descriptor of the member's listener, which the
// member may be about to close. The error wraps fs.ErrNotExist if it has it no more.
func (g *Group) withListener(m *member, do func(fd int) error) error {
	fd, err := m.fetch()
	if err != nil {
		return fmt.Errorf("fetch the listener of %s: %w", m, err)
	}
	defer unix.Close(fd)
	return do(fd)
}

// fetch duplicates the member's listener.
func (m *member) fetch() (fd int, err error) {
	numbers, err := m.process.sockets()
	if err != nil {
		return -1, err
	}
	fd, failed := -1, error(fs.ErrNotExist)
	err = m.process.control(func(process int) {
		for _, number := range numbers {
			got, err := unix.PidfdGetfd(process, number, 0)
			if errors.Is(err, unix.EPERM) {
				failed = err
			}
			if err != nil {
				continue
			}
			if cookie, err := sockets.Cookie(got); err == nil && cookie == m.cookie {
				fd, failed = got, nil
				return
			}
			unix.Close(got)
		}
	})
	return fd, errors.Join(err, failed)
}

// sockets are the descriptors of the process that may be sockets.
func (p process) sockets() (numbers []int, err error) {
	folder := fmt.Sprintf("/proc/%d/fd", p.pid)
	entries, err := os.ReadDir(folder)
	if p.pid == 0 || errors.Is(err, fs.ErrPermission) { // for which reading takes CAP_DAC_READ_SEARCH
		for number := range unseenDescriptors {
			numbers = append(numbers, number)
		}
		return numbers, nil
	}
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		target, err := os.Readlink(filepath.Join(folder, entry.Name()))
		number, failed := strconv.Atoi(entry.Name())
		if err == nil && failed == nil && len(target) > 7 && target[:7] == "socket:" {
			numbers = append(numbers, number)
		}
	}
	return numbers, nil
}

// rescue gives what waits at a member's listener to others. The listener stays
// the member's, in its slot.
func (g *Group) rescue(m *member) error {
	return g.withListener(m, func(fd int) error {
		d, err := sockets.Describe(fd)
		if err != nil {
			return err
		}
		defer func() { g.changed = time.Now() }()
		if err := sockets.Rescue(fd, d.MaxBacklog); err != nil {
			return err
		}
		if _, err := g.kernel.Add(-1, m.listener(fd)); err != nil {
			return fmt.Errorf("give it its slot back: %w", err)
		}
		return nil
	})
}

// shut ends the listener of a dead member, which somebody else holds: what waits
// in its queue moves to the others, and nothing is picked for it any more.
func (g *Group) shut(m *member) {
	found, err := sockets.Listeners(sockets.Address{})
	if err == nil {
		for _, l := range found {
			if l.Cookie == m.cookie {
				err = shut(l)
			}
		}
	}
	if err != nil {
		g.log.Error(fmt.Sprintf("shut the listener that %s has left: %v", m, err))
	}
}

func shut(l sockets.Listener) error {
	holders, err := sockets.Holders([]uint32{l.Inode})
	if err != nil {
		return err
	}
	for _, holder := range holders[l.Inode] {
		s, failed := l.Fetch(holder)
		if failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		defer s.Close()
		return os.NewSyscallError("shutdown", unix.Shutdown(s.FD(), unix.SHUT_RDWR))
	}
	return err
}
