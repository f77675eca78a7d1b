package daemon

import (
	"context"
	"os"
)

// finish ends the app in order, and returns when nothing of it is left.
func (a *app) finish() {
	a.mu.Lock()
	if !a.ended {
		a.ended = true
		close(a.ending)
	}
	t := a.latest
	a.mu.Unlock()
	if t != nil && t.supervisor != nil {
		_ = t.supervisor.Shutdown(context.Background())
	}
	<-a.gone
}

// stop is finish, but the app may start again.
func (a *app) stop() error {
	s, err := a.present()
	if err == nil {
		return s.Shutdown(context.Background())
	}
	a.mu.Lock()
	waits := !a.halted
	a.halted = true
	a.mu.Unlock()
	if !waits {
		return err
	}
	a.poke()
	return nil
}

// signal passes a second signal to end on.
func (a *app) signal(sig os.Signal) {
	if s, err := a.present(); err == nil {
		s.Signal(sig)
	}
}
