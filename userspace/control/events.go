package control

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// scanEvery is how often listeners are looked for without an event: the
// kernel drops events that it has no room for.
const scanEvery = 5 * time.Second

// watch handles the kernel side's events until it is detached.
func (s *Supervisor) watch(ctx context.Context) {
	for {
		e, err := s.steering.Next()
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			s.log.Error(fmt.Sprintf("the kernel's events can't be read, so new listeners get their slots up to %v late: %v",
				scanEvery, err))
			return
		}
		switch e.Kind {
		case Listening:
			s.listeners.appeared(ctx, e)
		case Closed:
			s.listeners.closed(e)
		case Stranger:
			s.meet(e)
		}
	}
}

// meet handles a Stranger event. Before the app serves at the address it is the
// end. Afterwards, ending it would let any neighbour stop it who is quick
// enough when a worker starts again, so that is only said.
func (s *Supervisor) meet(e Event) {
	if !s.listeners.wants(e.Address.Port()) {
		return
	}
	err := taken(e.Address, s.listeners.strangers(e.Address.Port()))
	if s.listeners.isAnnounced(e.Address) {
		s.log.Error(err.Error())
		return
	}
	s.fail(err)
}
