package attachment

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// processes are those that serve the groups, each by a pidfd: to ask for all
// of them whether one has died is one call.
type processes struct {
	poll []unix.PollFd
	pids map[int]bool
}

// add takes in who serves the slots.
func (s *processes) add(slots []Slot) {
	if s.pids == nil {
		s.pids = make(map[int]bool)
	}
	for _, slot := range slots {
		if slot.State == loader.Gone || s.pids[slot.PID] {
			continue
		}
		fd, err := unix.PidfdOpen(slot.PID, 0)
		if err != nil {
			continue
		}
		if !sockets.Alive(slot.PID, slot.Start) { // as long as it is open, nobody else gets its number
			unix.Close(fd)
			continue
		}
		s.pids[slot.PID] = true
		s.poll = append(s.poll, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
}

// died tells whether one did, once.
func (s *processes) died() (one bool) {
	if len(s.poll) == 0 {
		return false
	}
	n, err := unix.Poll(s.poll, 0)
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Poll(s.poll, 0)
	}
	if n <= 0 {
		return false
	}
	left := s.poll[:0]
	for _, p := range s.poll {
		if p.Revents != 0 {
			unix.Close(int(p.Fd))
		} else {
			left = append(left, p)
		}
	}
	s.poll = left
	return true
}

func (s *processes) forget() {
	for _, p := range s.poll {
		unix.Close(int(p.Fd))
	}
	*s = processes{}
}
