package control

import (
	"fmt"
	"time"
)

// awaitReady returns when the newcomer is ready. If it dies before, or takes
// longer than Config.ReadyTimeout, it is ended, and the error is a
// *NotReadyError.
func (s *Supervisor) awaitReady(w *worker) error {
	l := w.current()
	failure := &NotReadyError{Slot: w.slot, PID: l.process.pid}
	s.config.Manager.Extend(s.config.ReadyTimeout + s.config.StopTimeout + killTimeout + extraTime)
	timeout := time.NewTimer(s.config.ReadyTimeout)
	defer timeout.Stop()
	select {
	case <-l.ready:
		return nil
	case <-s.urgency.at(stopping):
		return ErrEnding
	case <-l.process.done:
		<-w.done
		failure.Why = "it " + w.lastDeath().exit.String()
	case <-timeout.C:
		failure.Why = fmt.Sprintf("it %s within %v", s.shortcoming(w), s.config.ReadyTimeout)
		w.retire()
		if err := s.terminate(w); err != nil {
			s.log.Error(err.Error())
		}
	}
	if d := w.lastDeath(); d != nil {
		failure.Output = d.output
	}
	return failure
}

// shortcoming says what a worker that isn't ready didn't do.
func (s *Supervisor) shortcoming(w *worker) string {
	serves := s.listeners.servedBy(w.slot)
	switch {
	case len(serves) == 0:
		return "doesn't listen" + onPorts(s.config.Ports)
	case s.ready == nil:
		return "doesn't listen on all ports of the others"
	}
	if err := s.ready.ask(s.steering, w.slot, serves); err != nil {
		return fmt.Sprintf("doesn't answer --ready (%v)", err)
	}
	return "isn't ready"
}
