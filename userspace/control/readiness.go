package control

import (
	"fmt"
	"slices"
	"time"

	"github.com/sockdist/sockdist/userspace/sockets"
)

// welcomeEvery is how often a worker that isn't ready is looked at.
const welcomeEvery = 20 * time.Millisecond

// needsWelcome tells whether a new life of the worker gets no connections
// before it is ready. Without a URL to ask, workers of the first hour, and
// those that start again, get them on each port as soon as they listen there.
func (w *worker) needsWelcome() bool { return w.onTrial() || w.app.ready != nil }

// holdAtStart is what keeps connections from a new listener of the worker.
func (w *worker) holdAtStart() Hold {
	var hold Hold
	if w.needsWelcome() && !w.isReady() {
		hold |= Starting
	}
	if w.isRetired() {
		hold |= Leaving
	}
	return hold
}

// welcome lets connections come to a worker once it is ready.
func (s *Supervisor) welcome(w *worker, l *life) {
	late := time.NewTimer(listenTime)
	defer late.Stop()
	for !s.isFit(w) {
		select {
		case <-time.After(welcomeEvery):
		case <-late.C:
			s.mentionUnready(w)
		case <-l.process.done:
			return
		case <-w.retired:
			return
		case <-s.urgency.at(hurried): // it may be another supervisor's by now
			return
		}
	}
	if w.onTrial() && w.replaces != nil {
		if err := s.steering.Inherit(w.replaces.slot, w.slot); err != nil {
			s.log.Error(fmt.Sprintf("give worker %d the weight of worker %d: %v", w.slot, w.replaces.slot, err))
		}
	}
	// In this order: what listens from now on isn't held.
	held := w.needsWelcome()
	w.proved.Store(true)
	close(l.ready)
	if held {
		if err := s.steering.Unhold(w.slot, Starting); err != nil {
			s.log.Error(fmt.Sprintf("worker %d is ready and gets no connections: %v", w.slot, err))
		}
	}
	s.save()
}

// mentionUnready tells of a worker that listens and gets no connections all the
// same. Who changes the app hears why a newcomer doesn't get ready.
func (s *Supervisor) mentionUnready(w *worker) {
	if !w.onTrial() && len(s.listeners.servedBy(w.slot)) > 0 {
		s.log.Warn(fmt.Sprintf("worker %d (pid %d) gets no connections: it %s", w.slot, w.pid(), s.shortcoming(w)))
	}
}

// isFit tells whether the worker listens wherever it has to, and answers.
func (s *Supervisor) isFit(w *worker) bool {
	serves := s.listeners.servedBy(w.slot)
	if len(serves) == 0 {
		return false
	}
	if w.needsWelcome() {
		for _, g := range s.expected(w) {
			if !slices.Contains(serves, g) {
				return false
			}
		}
	}
	return s.ready == nil || s.ready.ask(s.steering, w.slot, serves) == nil
}

// expected returns the groups that a worker has to be in: those of its
// predecessor, or of all that are ready. Of what only one of several workers
// listens on, a newcomer can't know: each may have a port of its own.
func (s *Supervisor) expected(w *worker) []sockets.Group {
	others := 0
	listening := make(map[sockets.Group]int)
	mandatory := make(map[sockets.Group]bool)
	for _, other := range s.crew.all() {
		if other == w || !other.isReady() {
			continue
		}
		others++
		for _, g := range s.listeners.servedBy(other.slot) {
			listening[g]++
			mandatory[g] = mandatory[g] || w.replaces == nil || w.replaces == other
		}
	}
	var groups []sockets.Group
	for g, n := range listening {
		if mandatory[g] && (n > 1 || others == 1) {
			groups = append(groups, g)
		}
	}
	return groups
}

// NotReadyError says that a new worker did not get ready, and was ended.
type NotReadyError struct {
	Slot, PID int
	// Why is a clause such as "it exited with status 1".
	Why string
	// Output are its last lines, if it printed any.
	Output []string
}

func (e *NotReadyError) Error() string {
	return fmt.Sprintf("the new worker %d (pid %d) doesn't get ready: %s", e.Slot, e.PID, e.Why)
}
