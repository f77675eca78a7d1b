package control

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/userspace/health/rounds"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// standbySlot is the slot of sockets that aren't a worker's.
const standbySlot = MaxWorkers - 1

const (
	// relieveEvery is how often the queues of standby sockets are looked at.
	relieveEvery = 50 * time.Millisecond
	// relieveSeldom is how often it is glanced whether anything has happened, while
	// there are workers, and nothing waits.
	relieveSeldom = 200 * time.Millisecond
)

// standby is a listening socket that outlives the app: the service manager's.
// It shares the workers' port, and is picked when no worker can be. So
// connections wait in its queue until there is one, and then move over; at the
// end of the app it gets what the last worker leaves.
type standby struct {
	sockets.Listener
	file *os.File
}

// openStandby gives the sockets their slots, before any worker listens: a
// connection is never left to the kernel's hash.
func (s *Supervisor) openStandby() error {
	for _, file := range s.config.Standby {
		socket, err := s.prepareStandby(file)
		if err != nil {
			return fmt.Errorf("socket %s of the service manager: %w", file.Name(), err)
		}
		s.standby = append(s.standby, socket)
		if err := s.park(socket); err != nil {
			return fmt.Errorf("socket %s of the service manager: %w", file.Name(), err)
		}
	}
	return nil
}

func (s *Supervisor) prepareStandby(file *os.File) (standby, error) {
	d, err := sockets.Describe(int(file.Fd()))
	switch {
	case err != nil:
		return standby{}, err
	case !d.Listening:
		return standby{}, fmt.Errorf("it doesn't listen: it must be of type stream, with Accept=no")
	case !d.ReusePort:
		return standby{}, fmt.Errorf("it doesn't share %s: set ReusePort=yes in the socket unit", d.Address)
	case d.MPTCP:
		return standby{}, errMPTCP
	}
	if s.account != nil { // only sockets of one user share a port
		if err := unix.Fchown(int(file.Fd()), int(s.account.uid), -1); err != nil {
			return standby{}, fmt.Errorf("give it to user %d: %w", s.account.uid, err)
		}
	}
	return standby{Listener: d.Listener, file: file}, nil
}

// park gives a socket its slot, which is picked only when no other can be.
func (s *Supervisor) park(socket standby) error {
	began, err := sockets.StartTime(os.Getpid())
	if err != nil {
		return err
	}
	return s.steering.Adopt(standbySlot, socket.Group(), Listener{
		FD: int(socket.file.Fd()), PID: os.Getpid(), Start: began, Cookie: socket.Cookie, Hold: Starting,
	})
}

// relieve moves what waits at standby sockets to workers, as soon as there are
// some.
func (s *Supervisor) relieve() {
	if len(s.standby) == 0 {
		return
	}
	post := rounds.Every(relieveEvery)
	defer post.Stop()
	glance := s.steering.Glancer()
	for {
		select {
		case <-post.C:
		case <-s.urgency.at(stopping):
			return
		}
		if s.relieveAll() {
			post.Change(relieveEvery, nil)
		} else {
			post.Change(relieveSeldom, glance)
		}
	}
}

// relieveAll tells whether something may come to wait: where all are served,
// nothing is picked for a standby socket.
func (s *Supervisor) relieveAll() (may bool) {
	traffic, err := s.steering.Traffic()
	waits := err == nil && traffic[standbySlot].Connections > 0
	for _, socket := range s.standby {
		if !s.isServed(socket.Group()) {
			may = true
			continue
		}
		if !waits {
			continue
		}
		if err := s.relieveOne(socket); err != nil {
			s.log.Error(fmt.Sprintf("give workers what waits at %s: %v", socket.Address, err))
		}
	}
	return may || waits || err != nil
}

// isServed tells whether a worker gets connections in the group.
func (s *Supervisor) isServed(g sockets.Group) bool {
	for _, slot := range s.listeners.slotsIn(g) {
		if w := s.crew.in(slot); w != nil && w.isReady() && !w.isRetired() {
			return true
		}
	}
	return false
}

func (s *Supervisor) relieveOne(socket standby) error {
	fd := int(socket.file.Fd())
	if err := sockets.Rescue(fd, socket.MaxBacklog); err != nil {
		return err
	}
	return s.park(socket)
}

// standIn lets the sockets take what the last worker leaves.
func (s *Supervisor) standIn() {
	if len(s.standby) == 0 {
		return
	}
	if err := s.steering.Unhold(standbySlot, Starting); err != nil {
		s.log.Error(fmt.Sprintf("hand the ports back to the service manager: %v", err))
	}
}

// unsteerStandby gives the sockets back as they came.
func (s *Supervisor) unsteerStandby() {
	for _, socket := range s.standby {
		if err := s.steering.Unsteer(socket.Group(), int(socket.file.Fd())); err != nil {
			s.log.Error(fmt.Sprintf("hand %s back to the service manager: %v", socket.Address, err))
		}
	}
}

// standbyCookies are the numbers of the sockets.
func (s *Supervisor) standbyCookies() map[uint64]bool {
	cookies := make(map[uint64]bool)
	for _, file := range s.config.Standby {
		if cookie, err := sockets.Cookie(int(file.Fd())); err == nil {
			cookies[cookie] = true
		}
	}
	return cookies
}
