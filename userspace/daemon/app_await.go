package daemon

import (
	"fmt"
	"time"

	"github.com/sockdist/sockdist/userspace/control"
)

// await returns when a supervisor after the one of that number has its workers,
// or why it hasn't.
func (a *app) await(after int) (number int, err error) {
	for {
		a.mu.Lock()
		t, turned := a.latest, a.turned
		a.mu.Unlock()
		if t == nil || t.number <= after {
			select {
			case <-turned:
				continue
			case <-a.gone:
				return after, control.ErrEnding
			}
		}
		if t.supervisor == nil {
			<-t.over
			return t.number, t.err
		}
		select {
		case <-t.supervisor.Started():
			return t.number, nil
		case <-t.over:
			if t.err == nil {
				return t.number, control.ErrEnding
			}
			return t.number, t.err
		}
	}
}

// serviceWithin bounds how long an apply waits for a new app to serve.
const serviceWithin = time.Minute

// awaitService is await, until all workers serve. That they are slow is no error.
func (a *app) awaitService(after int) error {
	if _, err := a.await(after); err != nil {
		return err
	}
	a.mu.Lock()
	over := a.latest.over
	a.mu.Unlock()
	select {
	case <-a.settled.done:
	case <-over:
	case <-time.After(serviceWithin):
		return fmt.Errorf("its workers don't serve within %v: see the log", serviceWithin)
	}
	if _, err := a.present(); err != nil {
		return err
	}
	return nil
}
