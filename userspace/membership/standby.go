package membership

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/health/rounds"
	"github.com/sockdist/sockdist/userspace/sockets"
)

const (
	// relieveEvery is how often the queue of the standby is looked at.
	relieveEvery = 50 * time.Millisecond
	// relieveSeldom is how often it is glanced whether anything has happened, while
	// there are workers, and nothing waits.
	relieveSeldom = 200 * time.Millisecond
)

// standby is a listening socket that outlives the group: the service manager's.
// It shares the workers' address, and is picked when no worker can be. So
// connections wait in its queue until there is one, and then move over.
type standby struct {
	sockets.Listener
	fd int // our own duplicate
}

func (g *Group) prepareStandby(file *os.File) (s *standby, err error) {
	s = &standby{fd: -1}
	err = withFile(file, func(fd int) (err error) {
		s.fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	if err == nil {
		err = s.prepare(g.place)
	}
	if err == nil {
		return s, nil
	}
	if s.fd >= 0 {
		unix.Close(s.fd)
	}
	return nil, err
}

func (s *standby) prepare(at sockets.Group) error {
	d, err := sockets.Describe(s.fd)
	switch {
	case err != nil:
		return err
	case !d.Listening:
		return fmt.Errorf("it doesn't listen: it must be of type stream, with Accept=no: %w", ErrListener)
	case !d.ReusePort:
		return fmt.Errorf("it doesn't share %s: set ReusePort=yes in the socket unit: %w", d.Address, ErrListener)
	case d.MPTCP:
		return fmt.Errorf("it speaks MPTCP, which can't be steered: %w", ErrListener)
	case placeOf(d) != at:
		return fmt.Errorf("it listens at %s, and the group at %s: %w", d.Address, at.Address, ErrListener)
	}
	s.Listener = d.Listener
	return own(s.fd, d)
}

// park gives the socket its slot, which is picked only when no other can be.
func (g *Group) park() error {
	began, err := sockets.StartTime(os.Getpid())
	if err != nil {
		return err
	}
	_, err = g.kernel.Add(standbySlot, loader.Listener{FD: g.standby.fd, PID: os.Getpid(), Start: began, Hold: loader.HoldStart})
	if err != nil {
		return err
	}
	return g.kernel.Steer(g.standby.fd)
}

// relieve moves what waits at the standby to workers, as soon as there are some.
func (g *Group) relieve() {
	post := rounds.Every(relieveEvery)
	defer post.Stop()
	var slots []loader.Progress
	var seen loader.Glance
	glance := func() bool { return g.kernel.Glance(&seen) }
	for {
		select {
		case <-post.C:
		case <-g.stop:
			return
		}
		slots = g.kernel.Progress(slots[:0])
		waits, serves := atStandby(slots)
		if serves && !waits {
			post.Change(relieveSeldom, glance)
			continue
		}
		post.Change(relieveEvery, nil)
		if !serves {
			continue
		}
		if err := g.relieveNow(); err != nil {
			g.log.Error(fmt.Sprintf("give workers what waits at %s: %v", g.place.Address, err))
		}
	}
}

// atStandby tells whether something waits at the standby, and whether somebody
// could serve it: as long as somebody can, nothing is picked for the standby.
func atStandby(slots []loader.Progress) (waits, serves bool) {
	for _, p := range slots {
		if p.Slot == standbySlot {
			waits = p.Connections > 0
		} else {
			serves = serves || p.State == loader.Live && p.Hold == 0
		}
	}
	return waits, serves
}

func (g *Group) relieveNow() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return nil
	}
	if err := sockets.Rescue(g.standby.fd, g.standby.MaxBacklog); err != nil {
		return err
	}
	return g.park()
}
