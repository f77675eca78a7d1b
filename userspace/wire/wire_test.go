package wire

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// handler does what its functions do; without them it does nothing.
type handler struct {
	answer func(*Peer, Request, func(string)) Reply
	join   func(*Session, Request, []*os.File)
}

func (h handler) Answer(p *Peer, r Request, say func(string)) Reply {
	if h.answer == nil {
		return Reply{}
	}
	return h.answer(p, r, say)
}

func (h handler) Join(s *Session, r Request, files []*os.File) {
	if h.join != nil {
		h.join(s, r, files)
	}
}

func answering(f func(Request, func(string)) Reply) handler {
	return handler{answer: func(_ *Peer, r Request, say func(string)) Reply { return f(r, say) }}
}

var plain = Options{UID: -1, GID: -1}

// serve starts a server for the length of the test.
func serve(t testing.TB, answer func(Request, func(string)) Reply) (path string) {
	t.Helper()
	return serveWith(t, plain, answering(answer))
}

func serveWith(t testing.TB, o Options, h Handler) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "control")
	s, err := Serve(path, o, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return path
}

func connect(t testing.TB, path string) *net.UnixConn {
	t.Helper()
	conn, err := dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestCall(t *testing.T) {
	path := serve(t, func(r Request, say func(string)) Reply {
		if r.Verb != Scale || r.Workers != 7 {
			t.Errorf("request %+v", r)
		}
		say("one")
		say("two")
		return Reply{}
	})
	var said []string
	if err := Call(t.Context(), path, Request{Verb: Scale, Workers: 7}, func(text string) { said = append(said, text) }); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(said, " "); got != "one two" {
		t.Errorf("it said %q", got)
	}
	if err := Call(t.Context(), path, Request{Verb: Scale, Workers: 7}, nil); err != nil {
		t.Errorf("with nobody to tell: %v", err)
	}
}

func TestCallThatIsRefused(t *testing.T) {
	path := serve(t, func(Request, func(string)) Reply { return Reply{Error: "no", Output: []string{"because"}} })
	err := Call(t.Context(), path, Request{Verb: Reload}, nil)
	var refused *Refusal
	if !errors.As(err, &refused) || refused.Text != "no" || len(refused.Output) != 1 {
		t.Errorf("error %v", err)
	}
}

func TestCallToNobody(t *testing.T) {
	if err := Call(t.Context(), filepath.Join(t.TempDir(), "control"), Request{Verb: Ping}, nil); !errors.Is(err, ErrNobody) {
		t.Errorf("error %v, want ErrNobody", err)
	}
}

// A server that dies leaves its socket behind, and its clients without an answer.
func TestCallToOneWhoGoes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	var peer sync.WaitGroup
	peer.Go(func() {
		if conn, err := l.AcceptUnix(); err == nil {
			conn.Close()
		}
	})
	if err := Call(t.Context(), path, Request{Verb: Ping}, nil); !errors.Is(err, ErrGone) {
		t.Errorf("error %v, want ErrGone", err)
	}
	peer.Wait()
	l.Close()
	if err := Call(t.Context(), path, Request{Verb: Ping}, nil); !errors.Is(err, ErrNobody) {
		t.Errorf("error %v, want ErrNobody", err)
	}
	if s, err := Serve(path, plain, handler{}); err != nil {
		t.Errorf("the socket of a dead server is in the way: %v", err)
	} else if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestCallThatNobodyWaitsFor(t *testing.T) {
	finish := make(chan struct{})
	var finished atomic.Bool
	path := serve(t, func(Request, func(string)) Reply {
		<-finish
		finished.Store(true)
		return Reply{}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := Call(ctx, path, Request{Verb: Reload}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	close(finish)
	for !finished.Load() {
		time.Sleep(time.Millisecond)
	}
}

func TestOtherVersion(t *testing.T) {
	path := serve(t, func(Request, func(string)) Reply {
		t.Error("it was handled")
		return Reply{}
	})
	conn := connect(t, path)
	if err := send(conn, Request{Version: Version + 1, Verb: Stop}); err != nil {
		t.Fatal(err)
	}
	if reply := lastReply(t, conn); !strings.Contains(reply.Error, "version") {
		t.Errorf("reply %+v", reply)
	}
}

func readReply(conn *net.UnixConn) (Reply, error) {
	reply, files, err := (&Conn{conn}).Receive()
	closeAll(files)
	return reply, err
}

func lastReply(t testing.TB, conn *net.UnixConn) Reply {
	t.Helper()
	for {
		reply, err := readReply(conn)
		if err != nil {
			t.Fatal(err)
		}
		if reply.Done {
			return reply
		}
	}
}

// Whatever one client does, the next one is served.
func TestHostileClients(t *testing.T) {
	path := serve(t, func(Request, func(string)) Reply { return Reply{} })
	for name, packet := range map[string]string{
		"no JSON":    "hello",
		"empty":      "{}",
		"half":       `{"version":1,"verb":"st`,
		"wrong type": `{"version":"one"}`,
		"array":      `[]`,
		"huge":       strings.Repeat("x", MaxMessage+1),
		"control":    "\x00\x01\x02",
	} {
		t.Run(name, func(t *testing.T) {
			conn := connect(t, path)
			if _, err := conn.Write([]byte(packet)); err != nil {
				t.Fatal(err)
			}
			if reply := lastReply(t, conn); reply.Error == "" {
				t.Errorf("reply %+v", reply)
			}
		})
	}
	// More than are served at once, most of them silent, and some gone already.
	for i := range 400 {
		conn, err := dial(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			conn.Close()
		} else {
			defer conn.Close()
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := Call(ctx, path, Request{Verb: Ping}, nil); err != nil {
		t.Errorf("a good client is not served: %v", err)
	}
}
