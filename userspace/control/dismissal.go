package control

import (
	"fmt"
	"time"
)

// dismissAll lets workers go.
func (s *Supervisor) dismissAll(workers []*worker, say func(string)) {
	for _, w := range workers {
		say(fmt.Sprintf("worker %d (pid %d) finishes its connections, and goes", w.slot, w.pid()))
		s.dismiss(w)
	}
}

// dismiss keeps new connections from a worker at once, and ends it when it has
// none left, or the grace is over.
func (s *Supervisor) dismiss(w *worker) {
	if w.isRetired() {
		return
	}
	w.retire()
	if err := s.steering.Hold(w.slot, Leaving); err != nil {
		s.log.Error(fmt.Sprintf("drain slot %d: %v", w.slot, err))
	}
	s.save()
	s.departures.Go(func() { s.depart(w) })
}

// depart ends a worker that was dismissed, when it is time.
func (s *Supervisor) depart(w *worker) {
	s.awaitIdle(w)
	if s.urgency.is(stopping) {
		return // the end of the app is the end of all
	}
	if err := s.terminate(w); err != nil {
		s.log.Error(err.Error())
		return
	}
	s.log.Info(fmt.Sprintf("worker %d (pid %d) is gone", w.slot, w.pid()))
}

// awaitIdle returns when a worker has neither connections nor a queue, or it
// is time to end it all the same. A pick that began before the slot was held
// may still be on its way, so it looks twice.
func (s *Supervisor) awaitIdle(w *worker) {
	over := time.NewTimer(s.config.Grace)
	defer over.Stop()
	ticker := time.NewTicker(trafficEvery)
	defer ticker.Stop()
	for idle := 0; idle < 2; {
		select {
		case <-ticker.C:
		case <-w.done:
			return
		case <-s.urgency.at(stopping):
			return
		case <-over.C:
			s.log.Warn(fmt.Sprintf("worker %d (pid %d) still has connections after %v: it is ended", w.slot, w.pid(), s.config.Grace))
			return
		}
		left, err := s.connectionsOf(w.slot)
		switch {
		case err != nil:
			s.log.Error(fmt.Sprintf("ask for connections of worker %d: %v", w.slot, err))
			idle = 0
		case left > 0:
			idle = 0
		default:
			idle++
		}
	}
}

// connectionsOf counts what a slot has, with what is on its way in. Connections
// in the accept queue are among them.
func (s *Supervisor) connectionsOf(slot int) (uint64, error) {
	traffic, err := s.steering.Traffic()
	t := traffic[slot]
	return t.Connections + t.Pending, err
}
