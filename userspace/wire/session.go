package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"time"
)

const (
	// sessionBurst requests of a session are read at once, and then one every
	// sessionPace: who sends faster waits.
	sessionBurst = 50
	sessionPace  = 10 * time.Millisecond
)

// A Session is the connection of a library worker.
type Session struct {
	visit *visit
	ready time.Time // when the last request of a burst would be due
}

func newSession(v *visit) *Session { return &Session{visit: v} }

// Peer returns who joined.
func (s *Session) Peer() *Peer { return s.visit.peer }

// Receive returns the worker's next request, and the files that came with it,
// which are the caller's to close. It waits as long as it takes. The end of the
// session is io.EOF; a worker that doesn't keep to the protocol has been told
// what the other errors say. It is for one goroutine at a time.
func (s *Session) Receive() (Request, []*os.File, error) {
	s.pace()
	p, err := receive(s.visit.conn, MaxRequest)
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
			return Request{}, nil, io.EOF
		}
		s.visit.refuse(err.Error())
		return Request{}, nil, err
	}
	r, err := p.request()
	if err != nil {
		s.visit.refuse(err.Error())
		s.visit.server.waste.close(p.files, func() {})
		return Request{}, nil, err
	}
	return r, p.files, nil
}

// pace waits if the worker sends too much.
func (s *Session) pace() {
	now := time.Now()
	s.ready = s.ready.Add(sessionPace)
	if slack := now.Add(-sessionBurst * sessionPace); s.ready.Before(slack) {
		s.ready = slack
	}
	time.Sleep(s.ready.Sub(now))
}

// Reply sends a reply, with files that stay the caller's. A worker that takes
// no replies any more is an error after a few seconds. Several goroutines may call
// it.
func (s *Session) Reply(r Reply, files ...*os.File) error { return s.visit.reply(r, files...) }

// Close ends the session: Receive returns io.EOF. It may be called at any time.
func (s *Session) Close() error { return s.visit.conn.Close() }
