package ledger_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/ledger"
)

// All connections to a good server are answered, over IPv4 and IPv6, short and
// held, and the books balance.
func TestGoodServer(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"tcp4", "tcp6"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, network, nil)
			book, balance := s.load(ledger.Load{
				Rate: 500, Duration: 2 * time.Second, Seed: 7,
				Held: ledger.Held{Count: 20, Least: 20 * time.Millisecond, Most: 50 * time.Millisecond, Life: 500 * time.Millisecond},
			})
			report := book.Report(balance)
			if report.Lost() > 0 || !balance.Balances() || report.Unopened > 0 {
				t.Errorf("%s\n%v", report.Verdict(), balance.Faults)
			}
			if n := balance.Answered; n != len(book.Entries) || n != balance.Accepted || n < 900 {
				t.Errorf("%d connections, %d accepted, %d answered", len(book.Entries), balance.Accepted, n)
			}
			// 20 at a time, and new ones for those whose life is over.
			if h := report.Held; h.Connections <= 20 || h.Answers <= h.Connections || h.Lost != 0 {
				t.Errorf("held: %+v", h)
			}
			if n := book.PIDs()[os.Getpid()]; n != len(book.Entries) {
				t.Errorf("this process answered %d", n)
			}
		})
	}
}

// Each fault ends in the column that is its own, and the books tell honest
// servers from others.
func TestFaults(t *testing.T) {
	t.Parallel()
	const stranger = 1 // a process that never served
	tests := []struct {
		name   string
		fault  fault
		column ledger.Column
		// says is in what doesn't fit; empty: all fits.
		says string
	}{
		{"no answer", func(s *server, c net.Conn, id string) {
			s.recordAll(c, id)
			_, _ = c.Read(make([]byte, 1)) // the client goes
		}, ledger.TimedOut, ""},
		{"reset", func(s *server, c net.Conn, id string) { s.recordAll(c, id); reset(c) }, ledger.ResetAfterAccept, ""},
		{"closed", func(s *server, c net.Conn, id string) { s.recordAll(c, id) }, ledger.ResetAfterAccept, ""},
		{"half an answer", func(s *server, c net.Conn, id string) {
			s.recordAll(c, id)
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"))
		}, ledger.ResetAfterAccept, ""},
		{"reset and not recorded", func(s *server, c net.Conn, id string) { reset(c) }, ledger.ResetBeforeAccept, ""},
		{"another number", func(s *server, c net.Conn, id string) { s.recordAll(c, id); reply(c, "4711.0") }, ledger.Wrong, ""},
		{"no HTTP", func(s *server, c net.Conn, id string) {
			s.recordAll(c, id)
			_, _ = c.Write([]byte("hello\r\n\r\n"))
		}, ledger.Wrong, ""},
		{"answers twice", func(s *server, c net.Conn, id string) { s.recordAll(c, id); reply(c, id); reply(c, id) }, ledger.Wrong, ""},
		{"answers twice, later", func(s *server, c net.Conn, id string) {
			s.recordAll(c, id)
			reply(c, id)
			time.Sleep(50 * time.Millisecond)
			reply(c, id)
		}, ledger.Wrong, ""},
		{"serves twice", func(s *server, c net.Conn, id string) {
			s.recordAll(c, id)
			s.record(os.Getpid(), 'N', c, " "+id)
			reply(c, id)
		}, ledger.Answered, "recorded question"},
		{"accepted twice", func(s *server, c net.Conn, id string) {
			s.recordAll(c, id)
			s.record(stranger, 'A', c, "")
			s.record(stranger, 'N', c, " "+id)
			reply(c, id)
		}, ledger.Answered, "accepted twice"},
		{"not recorded", func(s *server, c net.Conn, id string) { reply(c, id) }, ledger.Answered, "nobody recorded"},
		{"recorded by another", func(s *server, c net.Conn, id string) {
			s.record(stranger, 'A', c, "")
			s.record(stranger, 'N', c, " "+id)
			reply(c, id)
		}, ledger.Answered, "recorded by process 1"},
		{"a number of nobody", func(s *server, c net.Conn, id string) {
			s.recordAll(c, "999999.0")
			reset(c)
		}, ledger.ResetBeforeAccept, "no such connection"},
		{"accepts of nobody", func(s *server, c net.Conn, id string) {
			s.recordAll(c, id)
			s.record(os.Getpid(), 'A', c, "")
			reply(c, id)
		}, ledger.Answered, "recorded that it accepted it, besides"},
		{"a question without an accept", func(s *server, c net.Conn, id string) {
			s.record(os.Getpid(), 'N', c, " "+id)
			reset(c)
		}, ledger.ResetBeforeAccept, "hasn't accepted"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, "tcp4", test.fault)
			book, balance := s.load(ledger.Load{Rate: 400, Count: 100, Timeout: 3 * time.Second})
			report := book.Report(balance)
			want := 10
			if test.column == ledger.Answered {
				want = 100
			}
			if n := len(book.With(test.column)); n != want || len(book.With(ledger.Answered)) < 90 {
				t.Errorf("%d %s, want %d: %s", n, test.column, want, report.Verdict())
			}
			if report.Connections() != 100 {
				t.Errorf("%d connections in all columns, want 100", report.Connections())
			}
			switch {
			case test.says == "" && !balance.Balances():
				t.Errorf("doesn't fit: %v", balance.Faults)
			case test.says != "" && len(balance.Faults) < 10,
				test.says != "" && !strings.Contains(strings.Join(balance.Faults, "\n"), test.says):
				t.Errorf("doesn't fit: %d times %q, want at least 10 that say %q", len(balance.Faults), balance.Faults, test.says)
			}
			for _, e := range book.Losses() {
				accepted := e.AcceptedBy == os.Getpid()
				if accepted != (e.Column != ledger.ResetBeforeAccept) {
					t.Errorf("%v", e)
				}
			}
		})
	}
}

// Where nobody listens, all are refused.
func TestRefused(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"tcp4", "tcp6"} {
		s := startServer(t, network, nil)
		s.l.Close()
		// A worker of another test that is forked just now has the listener until it execs.
		until(t, "nobody listens", func() bool { return errors.Is(get(s.address, ""), unix.ECONNREFUSED) })
		book, balance := s.load(ledger.Load{Rate: 1000, Count: 50})
		if n := len(book.With(ledger.Refused)); n != 50 || !balance.Balances() {
			t.Errorf("%s: %s", network, book.Report(balance).Verdict())
		}
	}
}

// What nobody accepts times out, in the backlog and in the handshake.
func TestNobodyAccepts(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r, err := ledger.Start(ledger.Load{
		Server: netip.MustParseAddrPort(l.Addr().String()), Rate: 500, Count: 100, Timeout: 500 * time.Millisecond,
		From: []netip.Addr{netip.MustParseAddr("127.0.0.7"), netip.MustParseAddr("127.0.0.8")},
	})
	if err != nil {
		t.Fatal(err)
	}
	book := r.Wait()
	balance := settle(t, book, t.TempDir())
	if n := len(book.With(ledger.TimedOut)); n != 100 || !balance.Balances() {
		t.Error(book.Report(balance).Verdict())
	}
	from := make(map[string]int)
	for _, e := range book.Losses() {
		from[e.Local.Addr().String()]++
	}
	if from["127.0.0.7"] != 50 || from["127.0.0.8"] != 50 {
		t.Errorf("connections by address: %v", from)
	}
}

// The same seed gives the same intervals, another seed others; late or not,
// none is left out.
func TestArrivals(t *testing.T) {
	t.Parallel()
	due := func(seed uint64) (gaps []time.Duration) {
		s := startServer(t, "tcp4", nil)
		book, _ := s.load(ledger.Load{Rate: 1000, Count: 200, Seed: seed})
		for _, e := range book.Entries {
			gaps = append(gaps, e.Due.Sub(book.Begin))
		}
		return gaps
	}
	first, again, other := due(1), due(1), due(2)
	if len(first) != 200 || len(again) != 200 {
		t.Fatalf("%d and %d connections, want 200", len(first), len(again))
	}
	same := 0
	for i := range first {
		if first[i] != again[i] {
			t.Errorf("connection %d is due after %v and %v with the same seed", i, first[i], again[i])
		}
		if first[i] == other[i] {
			same++
		}
	}
	if same > 10 {
		t.Errorf("%d of 200 are due at the same time with another seed", same)
	}
	// 200 exponential intervals with a mean of 1 ms; five standard deviations.
	if last := first[199]; last < 130*time.Millisecond || last > 270*time.Millisecond {
		t.Errorf("200 connections at 1000/s within %v", last)
	}
}

// A load without an end goes on until Finish.
func TestFinish(t *testing.T) {
	t.Parallel()
	s := startServer(t, "tcp4", nil)
	r, err := ledger.Start(ledger.Load{Server: s.address, Rate: 300, First: 1000, Held: ledger.Held{Count: 5}})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); r.Progress().Answered < 100 || r.Progress().Exchanges < 10; {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", r.Progress())
		}
		time.Sleep(10 * time.Millisecond)
	}
	book := r.Finish()
	balance := settle(t, book, s.records)
	if len(book.Losses()) > 0 || !balance.Balances() || book != r.Finish() {
		t.Errorf("%s\n%v", book.Report(balance).Verdict(), book.Losses())
	}
	if book.Entries[0].Number != 1000 {
		t.Errorf("the first number is %d, want 1000", book.Entries[0].Number)
	}
}

// What others do on the server is counted apart: a connection without a
// question, and the question 0.
func TestStrangers(t *testing.T) {
	t.Parallel()
	s := startServer(t, "tcp4", nil)
	for range 5 {
		if err := get(s.address, "0.0"); err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", s.address.String())
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	_, balance := s.load(ledger.Load{Rate: 1000, Count: 50})
	if !balance.Balances() || balance.Strangers != 10 || balance.Accepted != 60 {
		t.Errorf("%+v", balance)
	}
}

// Two loads with the same numbers don't make a book.
func TestMerge(t *testing.T) {
	t.Parallel()
	s := startServer(t, "tcp4", nil)
	one, _ := s.load(ledger.Load{Rate: 1000, Count: 50})
	two, _ := s.load(ledger.Load{Rate: 1000, Count: 50, First: 51})
	if balance := settle(t, ledger.Merge(one, two), s.records); !balance.Balances() || balance.Answered != 100 {
		t.Errorf("%+v", balance)
	}
	if balance := settle(t, ledger.Merge(one, two, one), s.records); balance.Balances() {
		t.Error("connections that stand there twice pass")
	}
}

// A load that makes no sense is an error.
func TestNoSense(t *testing.T) {
	t.Parallel()
	server := netip.MustParseAddrPort("127.0.0.1:1")
	for _, load := range []ledger.Load{
		{}, {Server: netip.MustParseAddrPort("127.0.0.1:0")}, {Server: server, Rate: -1},
		{Server: server, From: []netip.Addr{netip.IPv6Loopback()}},
		{Server: server, Held: ledger.Held{Least: 2, Most: 1}},
	} {
		if r, err := ledger.Start(load); err == nil {
			r.Finish()
			t.Errorf("%+v is a load", load)
		}
	}
}

// The report is a line, a table and JSON, which say the same.
func TestReport(t *testing.T) {
	t.Parallel()
	s := startServer(t, "tcp4", func(s *server, c net.Conn, id string) { s.recordAll(c, id); reset(c) })
	book, balance := s.load(ledger.Load{Rate: 1000, Count: 100})
	report := book.Report(balance)
	var text, table bytes.Buffer
	if err := report.WriteJSON(&text); err != nil {
		t.Fatal(err)
	}
	var again struct {
		Columns []struct {
			Column      string
			Connections int
		}
		Losses  []struct{ Column, Phase string }
		Balance ledger.BalanceReport
	}
	if err := json.NewDecoder(&text).Decode(&again); err != nil {
		t.Fatal(err)
	}
	if len(again.Columns) != 6 || again.Columns[3].Column != "reset after accept" || again.Columns[3].Connections != 10 ||
		len(again.Losses) != 10 || again.Losses[0].Column != "reset after accept" || again.Balance.Accepted != 100 {
		t.Errorf("JSON: %+v", again)
	}
	if err := report.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"answered ", "reset after accept ", "workers accepted 100 = 90 answered + 10 reset"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in\n%s", want, table.String())
		}
	}
	for _, want := range []string{"100 connections at ", " 90 answered, 10 reset after accept", "the books balance"} {
		if !strings.Contains(report.Verdict(), want) {
			t.Errorf("no %q in %s", want, report.Verdict())
		}
	}
}
