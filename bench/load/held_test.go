package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// streams upgrades connections for a worker with that process ID.
func streams(conn net.Conn, pid int) {
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	if r.URL.Path != "/stream" || r.Header.Get("Upgrade") == "" {
		fmt.Fprint(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
		return
	}
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: %s\r\nConn", r.Header.Get("Upgrade"))
	fmt.Fprintf(conn, "ection: Upgrade\r\n\r\n%d\n", pid)
	_, _ = io.Copy(io.Discard, conn)
}

// visits are n that come at the same moment.
func visits(n int, stay time.Duration) []Visit {
	all := make([]Visit, n)
	for i := range all {
		all[i].Stay = stay
	}
	return all
}

func TestHeld(t *testing.T) {
	var turn atomic.Int32
	server := serve(t, func(conn net.Conn) { streams(conn, 1+int(turn.Add(1))%2) })
	const stay, late = 500 * time.Millisecond, 150 * time.Millisecond
	come := append(visits(10, stay), Visit{At: 3 * stay, Stay: time.Hour})
	tally := Held{Server: server, Visits: come, Length: 4 * stay, Every: 5 * time.Millisecond}.Run(t.Context())
	if tally.Served != 11 || tally.Failed+tally.Lost+tally.Waiting != 0 || tally.Latency.TotalCount() != 11 {
		t.Fatalf("%+v", tally)
	}
	between := func(from, to time.Duration, one, two int) {
		seen := 0
		for _, m := range tally.Moments {
			if m.At < from || m.At > to {
				continue
			}
			seen++
			if m.Held[1]+m.Held[2] != one+two || max(m.Held[1], m.Held[2]) != max(one, two) {
				t.Errorf("at %v: %v", m.At, m.Held)
			}
		}
		if seen == 0 {
			t.Errorf("no moment between %v and %v", from, to)
		}
	}
	between(stay/2, stay-10*time.Millisecond, 5, 5)
	between(stay+late, 3*stay-10*time.Millisecond, 0, 0)
	between(4*stay-late, 4*stay, 1, 0)
}

func TestHeldComesBack(t *testing.T) {
	var mu sync.Mutex
	var first []net.Conn
	var lost atomic.Bool
	server := serve(t, func(conn net.Conn) {
		if lost.Load() {
			streams(conn, 2)
			return
		}
		mu.Lock()
		first = append(first, conn)
		mu.Unlock()
		streams(conn, 1)
	})
	time.AfterFunc(100*time.Millisecond, func() {
		lost.Store(true)
		mu.Lock()
		defer mu.Unlock()
		for _, conn := range first {
			conn.Close()
		}
	})
	tally := Held{Server: server, Visits: visits(20, time.Hour), Length: 5 * time.Second, Return: true,
		Enough: func(h HeldTally) bool { return len(h.Returns) == 20 }}.Run(t.Context())
	if tally.Lost != 20 || len(tally.Returns) != 20 || tally.Held[1] != 0 || tally.Held[2] != 20 {
		t.Fatalf("%+v", tally)
	}
	for _, r := range tally.Returns {
		if r.From != 1 || r.To != 2 || r.Lost <= 0 || r.Back < r.Lost || r.Back > 4*time.Second {
			t.Errorf("%+v", r)
		}
	}
}

func TestHeldTriesAgain(t *testing.T) {
	var tries atomic.Int32
	server := serve(t, func(conn net.Conn) {
		if tries.Add(1) > 2 {
			streams(conn, 7)
		}
	})
	all := func(HeldTally) bool { return true }
	tally := Held{Server: server, Visits: visits(1, time.Hour), Length: 5 * time.Second, Enough: all}.Run(t.Context())
	if tally.Served != 1 || tally.Failed != 2 || !errors.Is(tally.Err, ErrReset) || tally.Latency.Max() < 2*retry.Microseconds() {
		t.Errorf("%+v", tally)
	}
}

func TestHeldIsNotServed(t *testing.T) {
	silent := serve(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	h := Held{Server: silent, Visits: visits(1, time.Hour), Length: 200 * time.Millisecond, Timeout: 50 * time.Millisecond}
	if tally := h.Run(t.Context()); tally.Served != 0 || tally.Failed < 2 || !errors.Is(tally.Err, ErrTimeout) {
		t.Errorf("by a server that says nothing: %+v", tally)
	}
	h.Server = serve(t, says("HTTP/1.1 503 Service Unavailable\r\n\r\n"))
	if tally := h.Run(t.Context()); tally.Served != 0 || !errors.Is(tally.Err, ErrWrong) {
		t.Errorf("by a server that refuses: %+v", tally)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h.Length = time.Hour
	h.Run(ctx)
}

func TestRoom(t *testing.T) {
	if n, err := Room(10); err != nil || n != 10 {
		t.Errorf("room for %d of 10: %v", n, err)
	}
	if n, err := Room(1 << 31); err != nil || n < 10 || n >= 1<<31 {
		t.Errorf("room for %d: %v", n, err)
	}
}
