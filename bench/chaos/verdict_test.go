package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/ledger"
)

// What was lost is explained by its worker's end, and by nothing else.
func TestAlibi(t *testing.T) {
	t.Parallel()
	second := ledger.Moment(time.Second)
	kill := killing{ledger.Kill{PID: 7, Sent: 10 * second, Dead: 11 * second}, "test"}
	a := &alibi{kills: []killing{kill}}
	good := ledger.Entry{Column: ledger.ResetAfterAccept, AcceptedBy: 7, Ended: 10*second + 1}
	for what, change := range map[string]func(*ledger.Entry){
		"another worker's":   func(e *ledger.Entry) { e.AcceptedBy = 8 },
		"lost before":        func(e *ledger.Entry) { e.Ended = 9 * second },
		"lost in the queue":  func(e *ledger.Entry) { e.Column = ledger.ResetBeforeAccept },
		"refused":            func(e *ledger.Entry) { e.Column = ledger.Refused },
		"without any answer": func(e *ledger.Entry) { e.Column = ledger.TimedOut },
	} {
		bad := good
		change(&bad)
		if _, explained := a.of(&bad); explained {
			t.Errorf("%s: is explained", what)
		}
	}
	hung := &alibi{kills: []killing{{ledger.Kill{PID: 7, Sent: 10 * second}, "test"}}}
	late := good
	late.Column = ledger.TimedOut
	if _, explained := hung.of(&late); !explained || len(hung.ledgerKills()) > 0 {
		t.Error("what a worker had that hangs for good isn't explained")
	}
	if k, explained := a.of(&good); !explained || k.why != "test" {
		t.Error("isn't explained")
	}
}

// Only accepts that can't be the load's are left out.
func TestLeaveOut(t *testing.T) {
	t.Parallel()
	peer := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(loopback4(1), port) }
	unknown := netip.AddrPortFrom(netip.Addr{}, 1)
	lost := &ledger.Entry{Number: 1, Local: peer(5), Column: ledger.ResetBeforeAccept}
	book := &ledger.Book{Entries: []*ledger.Entry{lost}}
	records := ledger.Records{Accepts: []*ledger.Accept{
		{PID: 1, At: 5, Peer: peer(1), Questions: []string{"1.0"}},  // of before
		{PID: 1, At: 15, Peer: peer(2), Questions: []string{"0.0"}}, // ours
		{PID: 1, At: 15, Peer: peer(3)},                             // canary
		{PID: 1, At: 15, Peer: unknown},                             // canary
		{PID: 1, At: 15, Peer: peer(5)},                             // lost
		{PID: 2, At: 15, Peer: peer(3)},                             // who is that?
		{PID: 1, At: 15, Peer: peer(4), Questions: []string{"10.0"}},
	}}
	canaries := leaveOut(&records, 10, book, &alibi{hung: map[int]bool{1: true}})
	if canaries != 2 || len(records.Accepts) != 3 || records.Accepts[0].Peer != peer(5) || records.Accepts[1].PID != 2 {
		t.Errorf("%d canaries, %+v", canaries, records.Accepts)
	}
}

func TestLog(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	now := time.Now().Format(time.RFC3339Nano)
	text := "time=" + now + ` level=WARN msg="worker 3 (pid 41) is killed: it hangs for 3s"` + "\n" +
		"what a worker prints\n" +
		"time=" + now + ` level=WARN msg="worker 1 (pid 42) still has connections after 3s: it is ended"` + "\n" +
		"time=" + now + ` level=WARN msg="worker 0 (pid 43) hangs: 3 connections wait and it has accepted none for 501ms; …"` + "\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	lines, err := readLog(path)
	if err != nil || len(lines) != 4 {
		t.Fatalf("%v, %v", lines, err)
	}
	if d := ledger.Now().Sub(lines[1].at); d < 0 || d > time.Minute {
		t.Errorf("the line is %v old", d)
	}
	a := &alibi{hung: make(map[int]bool)}
	a.addLog(lines, 0)
	if len(a.kills) != 2 || a.kills[0].PID != 41 || a.kills[1].PID != 42 || !a.hung[43] || len(a.hung) != 1 {
		t.Errorf("%+v", a)
	}
	later := &alibi{hung: make(map[int]bool)}
	later.addLog(lines, ledger.Now().Add(time.Second))
	if len(later.kills)+len(later.hung) > 0 {
		t.Errorf("%+v", later)
	}
}
