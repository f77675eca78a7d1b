package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sockdist/sockdist/userspace/wire"
)

// session is a connection to the daemon, after the join.
type session struct {
	conn    *wire.Conn
	mu      sync.Mutex // one request at a time
	replies chan wire.Reply
	gone    chan struct{}
	left    chan struct{} // closed by end: nobody takes a reply any more
}

var errSessionGone = errors.New("the session has ended")

func newSession(conn *wire.Conn) *session {
	s := &session{conn: conn, replies: make(chan wire.Reply), gone: make(chan struct{}), left: make(chan struct{})}
	go s.read()
	return s
}

// read hands on the daemon's answers, and notices its end.
func (s *session) read() {
	defer close(s.gone)
	for {
		reply, files, err := s.conn.Receive()
		if err != nil {
			return
		}
		closeAll(files)
		if !reply.Done {
			continue
		}
		select {
		case s.replies <- reply:
		case <-s.left:
			return
		case <-time.After(answerWithin): // an answer to what nobody waits for any more
			return
		}
	}
}

// ask sends a request and waits for the answer, though not for long. A session whose
// daemon doesn't answer is ended.
func (s *session) ask(ctx context.Context, verb string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	timer := time.NewTimer(answerWithin)
	defer timer.Stop()
	if err := s.conn.Send(wire.Request{Verb: verb}); err != nil {
		return fmt.Errorf("%w: %w", errSessionGone, err)
	}
	select {
	case reply := <-s.replies:
		if reply.Error != "" {
			return fmt.Errorf("%w: %s", ErrRefused, reply.Error)
		}
		return nil
	case <-s.gone:
		return errSessionGone
	case <-ctx.Done():
		s.conn.Close()
		return ctx.Err()
	case <-timer.C:
		s.conn.Close()
		return errSilent
	}
}

// end closes the session.
func (s *session) end() {
	close(s.left)
	s.conn.Close()
	<-s.gone
}
