package control

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// trafficEvery is how often the end looks whether connections are left.
	trafficEvery = 100 * time.Millisecond

	// killTimeout is how long processes have to vanish after SIGKILL. Only
	// one that sleeps deep in the kernel takes longer.
	killTimeout = 10 * time.Second

	// extraTime is what the service manager gives us beyond what we need.
	extraTime = 5 * time.Second
)

// Shutdown ends the app in order, as the first SIGTERM does, and returns when
// Run does. When the context is over before, the workers are killed.
func (s *Supervisor) Shutdown(ctx context.Context) error {
	s.urgency.raise(stopping)
	if !s.began.Load() {
		return nil
	}
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
		s.urgency.raise(killing)
		<-s.ended
		return ctx.Err()
	}
}

// stop ends the workers.
func (s *Supervisor) stop() error {
	s.config.Manager.Stopping("finishing connections")
	s.config.Manager.Extend(s.config.Grace + s.config.StopTimeout + killTimeout + extraTime)
	s.urgency.raise(stopping) // changes and departures end
	s.changing <- struct{}{}  // and no other begins
	s.departures.Wait()
	workers := s.crew.all()
	for _, w := range workers {
		w.retire()
	}
	if !s.urgency.is(hurried) {
		s.drain(workers)
		s.awaitQuiet()
	}

	s.standIn()
	failed := make([]error, len(workers))
	var group sync.WaitGroup
	for i, w := range workers {
		group.Go(func() { failed[i] = s.terminate(w) })
	}
	group.Wait()
	s.giveUp() // on those that can't be killed
	for _, w := range workers {
		<-w.done
	}
	return errors.Join(failed...)
}

// drain drains all slots. With none left that doesn't drain, the kernel side
// picks draining ones, so clients notice nothing.
func (s *Supervisor) drain(workers []*worker) {
	for _, w := range workers {
		if err := s.steering.Hold(w.slot, Leaving); err != nil {
			s.log.Error(fmt.Sprintf("drain slot %d: %v", w.slot, err))
		}
	}
}

// awaitQuiet returns when no connection is left, the grace is over, or
// somebody is in a hurry.
func (s *Supervisor) awaitQuiet() {
	over := time.NewTimer(s.config.Grace)
	defer over.Stop()
	ticker := time.NewTicker(trafficEvery)
	defer ticker.Stop()

	for said := false; ; said = true {
		left, err := s.connections()
		if err != nil {
			s.log.Error(fmt.Sprintf("ask for connections that are left: %v", err))
			return
		}
		if left == 0 {
			return
		}
		if !said {
			s.log.Info(fmt.Sprintf("ending: waiting up to %v for %d connections", s.config.Grace, left))
		}
		select {
		case <-ticker.C:
		case <-over.C:
			s.log.Warn(fmt.Sprintf("ending with %d connections after %v", left, s.config.Grace))
			return
		case <-s.urgency.at(hurried):
			return
		}
	}
}

// connections counts those of all slots, with those on their way in.
func (s *Supervisor) connections() (uint64, error) {
	traffic, err := s.steering.Traffic()
	if err != nil {
		return 0, err
	}
	var sum uint64
	for _, t := range traffic {
		sum += t.Connections + t.Pending
	}
	return sum, nil
}

// terminate ends a retired worker: SIGTERM to its main process, then to the
// others, then SIGKILL to all. Processes that were stopped are woken, as they
// would not see the signal.
func (s *Supervisor) terminate(w *worker) error {
	half := s.config.StopTimeout / 2
	if s.ends(w, 0) {
		return nil
	}
	w.signalMain(unix.SIGTERM)
	w.signalMain(unix.SIGCONT)
	if s.ends(w, half) {
		return nil
	}
	w.signalOthers(unix.SIGTERM)
	w.signalOthers(unix.SIGCONT)
	if s.ends(w, half) {
		return nil
	}

	if !s.urgency.is(killing) {
		s.log.Warn(fmt.Sprintf("worker %d (pid %d) doesn't end within %v of SIGTERM: killed", w.slot, w.pid(), s.config.StopTimeout))
	}
	if err := w.home().Kill(); err != nil {
		return err
	}
	select {
	case <-w.done:
		return nil
	case <-time.After(killTimeout):
		return fmt.Errorf("worker %d: its processes don't die within %v of SIGKILL: see cat %s/cgroup.procs",
			w.slot, killTimeout, w.home().Path())
	}
}

// ends waits for the end of a worker, unless somebody wants it killed.
func (s *Supervisor) ends(w *worker, within time.Duration) bool {
	select {
	case <-w.done:
		return true
	case <-s.urgency.at(killing):
	case <-time.After(within):
	}
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}
