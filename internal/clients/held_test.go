package clients_test

import (
	"bufio"
	"errors"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/netns"
)

func TestHoldHTTP(t *testing.T) {
	for _, network := range []string{"tcp4", "tcp6"} {
		t.Run(network, func(t *testing.T) {
			held := clients.Hold(t, serve(t, network, answering("41 7\n", "42")), 20)

			if got, want := held.PIDs(), map[int]int{41: 20}; !maps.Equal(got, want) {
				t.Errorf("connections by process: %v, want %v", got, want)
			}
			if got, want := held.Slots(), map[int]int{7: 20}; !maps.Equal(got, want) {
				t.Errorf("connections by slot: %v, want %v", got, want)
			}
			if ledger := held.Ask(); len(ledger.With(clients.Answered)) != 20 {
				t.Errorf("asked again: %v, want all answered", ledger)
			}
			if got, want := held.Slots(), map[int]int{clients.Unknown: 20}; !maps.Equal(got, want) {
				t.Errorf("connections by slot: %v, want %v", got, want)
			}
		})
	}
}

func TestHoldEcho(t *testing.T) {
	for prefix, want := range map[string]clients.Answer{
		"":      {PID: 0, Slot: clients.Unknown},
		"41 ":   {PID: 41, Slot: clients.Unknown},
		"41 0 ": {PID: 41, Slot: 0},
	} {
		client := clients.Client{Ask: clients.Echo}
		held := client.Hold(t, serve(t, "tcp4", echoing(prefix)), 3, 3)
		for _, c := range held {
			if c.Answer != want {
				t.Errorf("answer behind %q: %+v, want %+v", prefix, c.Answer, want)
			}
		}
	}
}

// The server sees each connection come from where the client says, and end as
// the client ends it.
func TestHeldEnds(t *testing.T) {
	ends := newEnds()
	held := clients.Hold(t, serve(t, "tcp4", ends.note), 4)
	held[:2].Close()
	held[2:].Reset()
	held.Close() // once more does nothing

	for i, c := range held {
		want := error(io.EOF)
		if i >= 2 {
			want = syscall.ECONNRESET
		}
		if got := ends.of(t, c.Local); !errors.Is(got, want) {
			t.Errorf("connection %d ended with %v, want %v", i, got, want)
		}
	}
	if ledger := held.Ask(); len(ledger.With(clients.Failed)) != 4 {
		t.Errorf("asked on closed connections: %v, want all failed", ledger)
	}
}

// ends notes how connections end, by their client.
type ends struct {
	mu  sync.Mutex
	how map[netip.AddrPort]error
}

func newEnds() *ends { return &ends{how: make(map[netip.AddrPort]error)} }

func (e *ends) note(conn net.Conn) {
	r := bufio.NewReader(conn)
	answer(conn, r, "1")
	_, err := r.ReadByte()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.how[conn.RemoteAddr().(*net.TCPAddr).AddrPort()] = err
}

func (e *ends) of(t *testing.T, client netip.AddrPort) error {
	t.Helper()

	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		e.mu.Lock()
		err, ended := e.how[client]
		e.mu.Unlock()
		if ended {
			return err
		}
	}
	t.Fatalf("the server saw no end of the connection from %s", client)
	return nil
}

func TestHeldLose(t *testing.T) {
	half := saying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n1\n")
	held := clients.Hold(t, serve(t, "tcp4", half), 5)
	if ledger := held.Ask(); len(ledger.With(clients.Reset)) != 5 {
		t.Errorf("asked after the server closed: %v, want all reset", ledger)
	}
}

func TestHoldInNamespace(t *testing.T) {
	ns := netns.New(t)
	var listener net.Listener
	err := ns.Do(func() (err error) {
		listener, err = net.Listen("tcp4", "127.0.0.1:0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, listener, answering("5"))

	server := listener.Addr().(*net.TCPAddr).AddrPort()
	held := clients.Client{In: ns}.Hold(t, server, 8, 4)
	locals := make(map[netip.AddrPort]bool)
	for _, c := range held {
		locals[c.Local] = true
	}
	if len(locals) != 8 {
		t.Errorf("local ends %v, want 8", slices.Collect(maps.Keys(locals)))
	}
}
