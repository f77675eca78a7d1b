package wire

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// A Handler does what clients want. Who may do what is for it to decide. Its
// methods are called by several goroutines at once.
type Handler interface {
	// Answer returns the last reply to a request. What it says before goes to
	// the client as well.
	Answer(p *Peer, r Request, say func(string)) Reply

	// Join serves a worker from its first request on, until it is gone or not
	// wanted any more. Afterwards the server closes the session, and the files
	// that came with the request, unless Join did.
	Join(s *Session, r Request, files []*os.File)
}

// A Server takes requests at a socket.
type Server struct {
	listener *net.UnixListener
	remove   func() // the socket's name
	handler  Handler
	limits   Limits
	house    *house
	work     sync.WaitGroup
	waste    waste

	mu     sync.Mutex
	conns  map[*net.UnixConn]bool
	closed bool
}

// Serve takes requests at the path, or at the listener in the options. A
// socket at the path is replaced; that nobody uses it is for the caller to
// know.
func Serve(path string, o Options, h Handler) (*Server, error) {
	o.Limits.complete()
	s := &Server{
		handler: h, limits: o.Limits, house: newHouse(o.Limits, uint32(os.Geteuid())), conns: make(map[*net.UnixConn]bool),
	}
	var err error
	if s.listener, s.remove, err = o.listen(path); err != nil {
		return nil, err
	}
	s.work.Go(s.accept)
	return s, nil
}

// Close takes no more requests, ends the sessions, and returns when all others
// have their last reply.
func (s *Server) Close() error {
	s.remove()
	err := s.listener.Close()
	s.mu.Lock()
	s.closed = true
	for conn := range s.conns { // who is read from
		_ = conn.SetReadDeadline(time.Now())
	}
	s.mu.Unlock()
	s.work.Wait()
	s.waste.wait(s.limits.Patience)
	return err
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // no descriptor is left, for instance
			time.Sleep(100 * time.Millisecond)
			continue
		}
		s.admit(conn)
	}
}

// admit serves the client if there is a place. It doesn't wait for anybody.
func (s *Server) admit(conn *net.UnixConn) {
	peer, err := newPeer(conn)
	if err != nil {
		conn.Close() // it has gone
		return
	}
	if !s.house.knock(peer.UID, time.Now()) || !s.house.enter(peer.UID, client) {
		s.turnAway(conn, fmt.Sprintf("too many requests of user %d at once: ask again later", peer.UID))
		return
	}
	s.work.Go(func() {
		s.serve(conn, peer)
	})
}

// turnAway has one try at telling why.
func (s *Server) turnAway(conn *net.UnixConn, why string) {
	_ = sendNow(conn, Reply{Version: Version, Done: true, Error: why, Busy: true})
	conn.Close()
}

// serve has one client. Its place is free when nothing of it is left, not even
// a descriptor that is slow to close.
func (s *Server) serve(conn *net.UnixConn, peer *Peer) {
	v := &visit{server: s, conn: conn, peer: peer}
	files := v.run()
	s.mu.Lock()
	delete(s.conns, conn)
	s.mu.Unlock()
	conn.Close()
	kind := v.kind
	s.waste.close(files, func() { s.house.leave(peer.UID, kind) })
}

// awaits sets how long the next packet is waited for, 0 for ever. It says no when the
// server is closed.
func (s *Server) awaits(conn *net.UnixConn, patience time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[conn] = true
	var until time.Time
	if patience > 0 {
		until = time.Now().Add(patience)
	}
	return conn.SetReadDeadline(until) == nil
}
