package ledger_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/ledger"
)

// A fault is what a server of this process does wrong with one of the
// connections that it accepts, instead of serving it. It writes its own record.
type fault func(s *server, c net.Conn, id string)

// server serves and keeps records as the real ones do, but for every tenth
// connection, to which the fault happens.
type server struct {
	t       testing.TB
	address netip.AddrPort
	records string
	fault   fault
	file    *os.File
	l       net.Listener
	running sync.WaitGroup
}

func startServer(t testing.TB, network string, fault fault) *server {
	t.Helper()
	host := "127.0.0.1:0"
	if network == "tcp6" {
		host = "[::1]:0"
	}
	l, err := net.Listen(network, host)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, address: netip.MustParseAddrPort(l.Addr().String()), records: t.TempDir(), fault: fault, l: l}
	s.file, err = os.OpenFile(filepath.Join(s.records, fmt.Sprintf("%d.1", os.Getpid())), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	s.running.Go(s.accept)
	t.Cleanup(func() {
		l.Close()
		s.running.Wait()
		s.file.Close()
	})
	return s
}

func (s *server) accept() {
	for n := 0; ; n++ {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		s.running.Go(func() {
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			s.serve(c, s.fault != nil && n%10 == 5)
		})
	}
}

func (s *server) serve(c net.Conn, faulty bool) {
	if !faulty {
		s.record(os.Getpid(), 'A', c, "")
	}
	reader := bufio.NewReader(c)
	for {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		id := request.URL.Path[1:]
		if faulty {
			s.fault(s, c, id)
			return
		}
		s.record(os.Getpid(), 'N', c, " "+id)
		reply(c, id)
		if request.Close {
			return
		}
	}
}

func reply(c net.Conn, id string) {
	body := fmt.Sprintf("%d - %s\n", os.Getpid(), id)
	fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// record writes into the file of this process, or of another.
func (s *server) record(pid int, letter byte, c net.Conn, more string) {
	file := s.file
	if pid != os.Getpid() {
		var err error
		file, err = os.OpenFile(filepath.Join(s.records, fmt.Sprintf("%d.1", pid)), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		if err != nil {
			s.t.Error(err)
			return
		}
		defer file.Close()
	}
	peer := strings.Replace(c.RemoteAddr().String(), "[::1]:", "::1 ", 1)
	peer = strings.Replace(peer, ".1:", ".1 ", 1)
	fmt.Fprintf(file, "%c %d %s%s\n", letter, ledger.Now(), peer, more)
}

// recordAll records as a good server does.
func (s *server) recordAll(c net.Conn, id string) {
	s.record(os.Getpid(), 'A', c, "")
	s.record(os.Getpid(), 'N', c, " "+id)
}

func reset(c net.Conn) {
	_ = c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// load runs a load to its end and settles it.
func (s *server) load(l ledger.Load) (*ledger.Book, *ledger.Balance) {
	s.t.Helper()
	l.Server = s.address
	r, err := ledger.Start(l)
	if err != nil {
		s.t.Fatal(err)
	}
	book := r.Wait()
	return book, settle(s.t, book, s.records)
}

func settle(t testing.TB, book *ledger.Book, records string, kills ...ledger.Kill) *ledger.Balance {
	t.Helper()
	r, err := ledger.ReadRecords(records)
	if err != nil {
		t.Fatal(err)
	}
	return book.Balance(r, kills...)
}
