package wire

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// patience is how long a client has to send its request, or to take a reply.
	patience = 5 * time.Second
	// mostClients are served at once; others wait.
	mostClients = 32
)

// A Server takes requests at a socket.
type Server struct {
	listener *net.UnixListener
	handle   func(Request, func(say string)) Reply
	clients  sync.WaitGroup
	places   chan struct{}
}

// Serve takes requests at path, mode 0600: from this user and from root. A
// socket that is there is replaced; that nobody uses it is for the caller to
// know. handle is called for several requests at once; what it says goes to
// the client, and what it returns is the last reply.
func Serve(path string, handle func(r Request, say func(string)) Reply) (*Server, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("replace the socket: %w", err)
	}
	listener, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		listener.Close()
		return nil, err
	}
	s := &Server{listener: listener, handle: handle, places: make(chan struct{}, mostClients)}
	s.clients.Go(s.accept)
	return s, nil
}

// Close takes no more requests, and returns when all have their last reply.
func (s *Server) Close() error {
	err := s.listener.Close()
	s.clients.Wait()
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
		s.places <- struct{}{}
		s.clients.Go(func() {
			defer func() { <-s.places }()
			defer conn.Close()
			s.serve(conn)
		})
	}
}

// serve answers one client.
func (s *Server) serve(conn *net.UnixConn) {
	if err := mayAsk(conn); err != nil {
		s.reply(conn, Reply{Done: true, Error: err.Error()})
		return
	}
	var request Request
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if err := receive(conn, &request); err != nil {
		s.reply(conn, Reply{Done: true, Error: fmt.Sprintf("read the request: %v", err)})
		return
	}
	if request.Version != Version {
		s.reply(conn, Reply{Done: true, Error: fmt.Sprintf("the supervisor speaks version %d of the protocol, the request is of version %d: "+
			"use the sockdist that the app was started with", Version, request.Version)})
		return
	}
	var order sync.Mutex
	last := s.handle(request, func(text string) {
		order.Lock()
		defer order.Unlock()
		s.reply(conn, Reply{Say: text})
	})
	last.Done = true
	s.reply(conn, last)
}

// reply doesn't care whether the client is still there.
func (s *Server) reply(conn *net.UnixConn, r Reply) {
	r.Version = Version
	_ = conn.SetWriteDeadline(time.Now().Add(patience))
	_ = send(conn, r)
}

// mayAsk looks at who is at the other end.
func mayAsk(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) { peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	if peer.Uid != 0 && int(peer.Uid) != os.Geteuid() {
		return fmt.Errorf("user %d may not operate this app: be the user who runs the supervisor, or root", peer.Uid)
	}
	return nil
}
