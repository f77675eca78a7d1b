package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sendRaw sends a packet with so many copies of a descriptor.
func sendRaw(t *testing.T, conn *net.UnixConn, text string, copies int) {
	t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	fds := make([]int, copies)
	for i := range fds {
		fds[i] = int(null.Fd())
	}
	var rights []byte
	if copies > 0 {
		rights = unix.UnixRights(fds...)
	}
	err = control(conn, func(fd int) error { return unix.Sendmsg(fd, []byte(text), rights, nil, 0) })
	if err != nil {
		t.Logf("send %d descriptors: %v", copies, err)
	}
}

// Whatever descriptors come, and with what: all are closed.
func TestDescriptorsByTheHundred(t *testing.T) {
	noLeaks(t)
	path := serveWith(t, plain, handler{join: func(s *Session, _ Request, _ []*os.File) {
		for {
			_, files, err := s.Receive()
			closeAll(files)
			if err != nil || s.Reply(Reply{Done: true}) != nil {
				return
			}
		}
	}})
	join, ping := `{"version":1,"verb":"join"}`, `{"version":1,"verb":"ping"}`
	for _, copies := range []int{0, 1, MaxFiles, MaxFiles + 1, 253} {
		for _, text := range []string{join, ping, "", "nonsense", `{"version":7}`} {
			// As the first packet, and within a session.
			first := connect(t, path)
			sendRaw(t, first, text, copies)
			later := connect(t, path)
			sendRaw(t, later, join, 0)
			for range 3 {
				sendRaw(t, later, text, copies)
			}
			if copies == 253 && text == join {
				if reply, err := readReply(first); err != nil || reply.Error == "" {
					t.Errorf("%d descriptors: reply %+v, %v", copies, reply, err)
				}
			}
			first.Close()
			later.Close()
		}
	}
	if err := Call(t.Context(), path, Request{Verb: Ping}, nil); err != nil {
		t.Error(err)
	}
}

// An operator's request has no descriptors.
func TestDescriptorsWithARequest(t *testing.T) {
	noLeaks(t)
	path := serve(t, func(Request, func(string)) Reply {
		t.Error("it was handled")
		return Reply{}
	})
	conn := connect(t, path)
	sendRaw(t, conn, `{"version":1,"verb":"ping"}`, 1)
	if reply := lastReply(t, conn); reply.Error == "" {
		t.Errorf("reply %+v", reply)
	}
}

// A socket that lingers for a minute when it is closed keeps nobody.
func TestDescriptorThatIsSlowToClose(t *testing.T) {
	noLeaks(t)
	path := t.TempDir() + "/control"
	o := plain
	o.Limits.Patience = 100 * time.Millisecond
	last := make(chan struct{}) // closed: the server has the last copy
	s, err := Serve(path, o, handler{join: func(*Session, Request, []*os.File) { <-last }})
	if err != nil {
		t.Fatal(err)
	}
	lingers, reader := lingering(t)
	conn, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Send(Request{Verb: JoinGroup}, lingers); err != nil {
		t.Fatal(err)
	}
	lingers.Close()
	close(last)
	if _, _, err := conn.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("the session goes on: %v", err)
	}
	if err := Call(t.Context(), path, Request{Verb: Ping}, nil); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil { // while the socket lingers
		t.Error(err)
	}
	s.waste.mu.Lock()
	if s.waste.left != 1 {
		t.Errorf("%d descriptors are being closed", s.waste.left)
	}
	s.waste.mu.Unlock()
	reader.Close()
	<-s.waste.none
}

// lingering returns a socket with unsent data, and the one that doesn't read it.
func lingering(t *testing.T) (*os.File, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	reader, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	file, err := conn.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	fd := int(file.Fd()) // which makes it block
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 60}); err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 1<<16); ; {
		if _, err := unix.Write(fd, block); err != nil {
			return file, reader
		}
	}
}
