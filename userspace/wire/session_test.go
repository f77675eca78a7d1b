package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A session brings a listener in, and a listener and a map out.
func TestSession(t *testing.T) {
	noLeaks(t)
	var sessions sync.WaitGroup
	sessions.Add(1)
	path := serveWith(t, plain, handler{join: func(s *Session, r Request, files []*os.File) {
		defer sessions.Done()
		if r.Join == nil || r.Join.Group != "api" || len(files) != 1 {
			t.Errorf("join %+v with %d files", r.Join, len(files))
			return
		}
		seat := &Seat{Group: "api", Slot: 3, Address: "127.0.0.1:80", Descriptors: []string{FileListener, FileLoads}}
		if err := s.Reply(Reply{Done: true, Seat: seat}, files[0], files[0]); err != nil {
			t.Error(err)
		}
		for _, verb := range []string{Drain, Undrain} {
			if r, files, err := s.Receive(); err != nil || r.Verb != verb || len(files) != 0 {
				t.Errorf("request %+v with %d files, %v", r, len(files), err)
			}
			if err := s.Reply(Reply{Done: true}); err != nil {
				t.Error(err)
			}
		}
		if r, _, err := s.Receive(); !errors.Is(err, io.EOF) {
			t.Errorf("after the end: %+v, %v", r, err)
		}
	}})

	l, file := listener(t)
	conn, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Send(Request{Verb: JoinGroup, Join: &Join{Group: "api"}}, file); err != nil {
		t.Fatal(err)
	}
	reply, files, err := conn.Receive()
	if err != nil || reply.Seat == nil || reply.Seat.Slot != 3 || len(files) != 2 {
		t.Fatalf("reply %+v with %d files, %v", reply, len(files), err)
	}
	for _, f := range files {
		got, err := net.FileListener(f)
		if err != nil {
			t.Fatal(err)
		}
		if got.Addr().String() != l.Addr().String() {
			t.Errorf("a listener at %v came", got.Addr())
		}
		got.Close()
	}
	closeAll(files)
	for _, verb := range []string{Drain, Undrain} {
		reply, err := ask(conn, Request{Verb: verb})
		wantDone(t, reply, err)
	}
	conn.Close()
	sessions.Wait()
}

// listener returns one, and its descriptor, which doesn't block.
func listener(t *testing.T) (net.Listener, *os.File) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); file.Close() })
	return l, file
}

// What is sent stays as it is: a server that accepts must not come to block.
func TestSendingLeavesDescriptorsAlone(t *testing.T) {
	noLeaks(t)
	came := make(chan bool, 1)
	path := serveWith(t, plain, handler{join: func(_ *Session, _ Request, files []*os.File) {
		came <- len(files) == 1 && blocks(t, files[0])
	}})
	_, file := listener(t)
	conn, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Send(Request{Verb: JoinGroup}, file); err != nil {
		t.Fatal(err)
	}
	if <-came || blocks(t, file) {
		t.Error("the listener blocks now")
	}
}

func blocks(t *testing.T, f *os.File) bool {
	t.Helper()
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var flags, closeOnExec int
	err = raw.Control(func(fd uintptr) {
		flags, _ = unix.FcntlInt(fd, unix.F_GETFL, 0)
		closeOnExec, _ = unix.FcntlInt(fd, unix.F_GETFD, 0)
	})
	if err != nil || closeOnExec&unix.FD_CLOEXEC == 0 {
		t.Errorf("a descriptor that programs inherit, %v", err)
	}
	return flags&unix.O_NONBLOCK == 0
}

// The end of the server is the end of every session, even of one that sleeps.
func TestServerEndsSessions(t *testing.T) {
	noLeaks(t)
	joined := make(chan error, 1)
	path := t.TempDir() + "/control"
	s, err := Serve(path, plain, handler{join: func(s *Session, _ Request, _ []*os.File) {
		_ = s.Reply(Reply{Done: true})
		_, _, err := s.Receive()
		joined <- err
	}})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	reply, err := ask(conn, Request{Verb: JoinGroup})
	wantDone(t, reply, err)
	silent, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-joined; !errors.Is(err, io.EOF) {
		t.Errorf("the session ends with %v", err)
	}
	if _, _, err := conn.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("the worker reads %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestSessionClose(t *testing.T) {
	noLeaks(t)
	over := make(chan error, 1)
	path := serveWith(t, plain, handler{join: func(s *Session, _ Request, _ []*os.File) {
		go func() { _ = s.Close() }()
		_, _, err := s.Receive()
		over <- err
	}})
	conn, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Send(Request{Verb: JoinGroup}); err != nil {
		t.Fatal(err)
	}
	if err := <-over; !errors.Is(err, io.EOF) {
		t.Errorf("error %v", err)
	}
}

// A worker that doesn't keep to the protocol is told, and is at its end.
func TestBadRequestsOfASession(t *testing.T) {
	noLeaks(t)
	for name, packet := range map[string]string{
		"no JSON": "hello", "other version": `{"version":2,"verb":{"new":"way"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			over := make(chan error, 1)
			path := serveWith(t, plain, handler{join: func(s *Session, _ Request, _ []*os.File) {
				_, _, err := s.Receive()
				over <- err
			}})
			conn := connect(t, path)
			_, file := listener(t)
			if err := send(conn, Request{Version: Version, Verb: JoinGroup}); err != nil {
				t.Fatal(err)
			}
			raw, err := file.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			err = raw.Control(func(fd uintptr) {
				if _, _, err := conn.WriteMsgUnix([]byte(packet), unix.UnixRights(int(fd)), nil); err != nil {
					t.Error(err)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if reply := lastReply(t, conn); reply.Error == "" || reply.Version != Version {
				t.Errorf("reply %+v", reply)
			}
			if err := <-over; err == nil || errors.Is(err, io.EOF) {
				t.Errorf("the session goes on with %v", err)
			}
		})
	}
}

// A worker that sends without an end is read slowly, and what it sends stays
// with it.
func TestFloodInASession(t *testing.T) {
	noLeaks(t)
	received, enough := make(chan struct{}), make(chan struct{})
	path := serveWith(t, plain, handler{join: func(s *Session, _ Request, _ []*os.File) {
		for {
			if _, _, err := s.Receive(); err != nil {
				return
			}
			select {
			case received <- struct{}{}:
			case <-enough:
			}
		}
	}})
	conn, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Send(Request{Verb: JoinGroup}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for conn.Send(Request{Verb: Drain}) == nil {
		}
	}()
	const n = 2 * sessionBurst
	for range n {
		<-received
	}
	if took, least := time.Since(began), (n-sessionBurst-2)*sessionPace; took < least {
		t.Errorf("%d requests were taken in %v, which is less than %v", n, took, least)
	}
	close(enough)
	conn.Close()
	<-sent
}
