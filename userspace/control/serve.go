package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sockdist/sockdist/userspace/health/rounds"
)

// serve starts the workers, and returns when they are ended.
func (s *Supervisor) serve(found *legacy) error {
	s.lives, s.giveUp = context.WithCancel(context.Background())
	s.listeners = newListeners(s.steering, &s.config, s.crew, s.fail, s.serving)
	s.listeners.standby = s.standbyCookies()
	s.workers = newWorkersDesk(s)
	s.takeOver(found)
	s.workers.open()
	defer s.workers.close()
	s.background.Go(func() { s.watch(s.lives) })
	s.background.Go(s.watchProgress)
	s.background.Go(s.scaleByLoad)
	s.background.Go(s.relieve)
	go s.feedWatchdog() // to the very end

	err := s.startAll()
	if err == nil {
		s.manned.Store(true)
		s.save()
		// Some may have listened before anybody read events.
		s.listeners.scan()
		s.resume()
		close(s.started)
		err = s.wait()
	}
	if errors.Is(err, ErrHandedOver) {
		s.leave()
		return err
	}
	defer s.giveUp()
	if err != nil {
		s.urgency.raise(hurried)
	}
	defer s.urgency.raise(hurried) // the guard ends too
	return errors.Join(err, s.stop())
}

// startAll starts as many workers as are lacking. The first one that can't be
// started is the end.
func (s *Supervisor) startAll() error {
	for len(s.crew.staying()) < s.aims().workers && !s.config.EndOnly {
		if _, err := s.enlist(func(*worker) {}); err != nil {
			return err
		}
	}
	return nil
}

// recountEvery is how often the counts are compared with the connections there are.
const recountEvery = 30 * time.Second

// wait returns nil when somebody wants the end, or the error that makes it
// necessary.
func (s *Supervisor) wait() error {
	late := time.NewTimer(listenTime)
	defer late.Stop()
	scan := rounds.Every(scanEvery)
	defer scan.Stop()
	recount := rounds.Every(recountEvery)
	defer recount.Stop()
	for {
		select {
		case <-s.urgency.at(stopping):
			return nil
		case err := <-s.failed:
			return err
		case moment := <-scan.C:
			s.restore()
			s.listeners.scanSince(moment)
		case <-recount.C:
			s.recount()
		case <-late.C:
			if !s.listeners.takeStock() {
				s.log.Warn(fmt.Sprintf("no worker listens%s after %v: is the server slow to start, or set to another port?",
					onPorts(s.config.Ports), listenTime))
			}
		}
	}
}

// recount puts counts right that an event which no program saw left wrong.
func (s *Supervisor) recount() {
	corrected, err := s.steering.Recount()
	if err != nil {
		s.listeners.sayOnce("recount", fmt.Sprintf("compare the counts with the connections there are: %v", err))
	}
	if corrected > 0 {
		s.log.Warn(fmt.Sprintf("counts were wrong by %d connections, which the kernel has opened or closed unseen: they are right again", corrected))
	}
}

// restore mends the kernel side. Connections were served all the while.
func (s *Supervisor) restore() {
	restored, err := s.steering.Restore()
	if err != nil {
		s.listeners.sayOnce("restore", fmt.Sprintf("the kernel side was lost and can't be made anew, so connections are served but not counted: %v", err))
	}
	if !restored {
		return
	}
	s.log.Warn("the kernel side was lost, as when bpffs is unmounted: it is made anew; weights, drains and limits that were set are gone")
	for _, socket := range s.standby {
		if err := s.park(socket); err != nil {
			s.log.Error(fmt.Sprintf("socket %s of the service manager: %v", socket.Address, err))
		}
	}
	s.listeners.forget()
	s.workers.callAgain() // the loads are others by now
}

// fail ends Run with an error; the first one counts.
func (s *Supervisor) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}
