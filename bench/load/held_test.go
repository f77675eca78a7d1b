package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// streams upgrades connections for a worker with that process ID, and keeps them.
func streams(conn net.Conn, pid int) {
	if upgraded(conn, pid) {
		_, _ = io.Copy(io.Discard, conn)
	}
}

// upgraded tells whether it could.
func upgraded(conn net.Conn, pid int) bool {
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return false
	}
	if r.URL.Path != "/stream" || r.Header.Get("Upgrade") == "" {
		fmt.Fprint(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
		return false
	}
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: %s\r\nConn", r.Header.Get("Upgrade"))
	_, err = fmt.Fprintf(conn, "ection: Upgrade\r\n\r\n%d\n", pid)
	return err == nil
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
	const stay = time.Second
	come := append(visits(10, stay), Visit{At: 2 * stay, Stay: time.Hour})
	tally := Held{Server: server, Visits: come, Length: 3 * stay, Every: 5 * time.Millisecond}.Run(t.Context())
	if tally.Served != 11 || tally.Failed+tally.Lost+tally.Waiting != 0 || tally.Latency.TotalCount() != 11 || len(tally.Moments) < 10 {
		t.Fatalf("%+v", tally)
	}
	// Who is to go is gone at the next moment. Who comes is served some time
	// later, so the last moment counts; there is none if the machine stood still.
	for i, m := range tally.Moments {
		most, all := []int{5, 0, 1}[m.At/stay], []int{10, 0, 1}[m.At/stay]
		isLast := i+1 == len(tally.Moments) || tally.Moments[i+1].At/stay > m.At/stay
		one, two := m.Held[1], m.Held[2]
		if max(one, two) > most || isLast && (max(one, two) < most || one+two != all) {
			t.Errorf("at %v: %v", m.At, m.Held)
		}
	}
}

func TestHeldComesBack(t *testing.T) {
	var first atomic.Int32
	lost := make(chan struct{}) // closed: the first worker ends, as all have come to it
	server := serve(t, func(conn net.Conn) {
		select {
		case <-lost:
			streams(conn, 2)
			return
		default:
		}
		if upgraded(conn, 1) && first.Add(1) == 20 {
			close(lost)
		}
		select {
		case <-lost:
		case <-t.Context().Done():
		}
	})
	tally := Held{Server: server, Visits: visits(20, time.Hour), Length: 30 * time.Second, Return: true,
		Enough: func(h HeldTally) bool { return len(h.Returns) == 20 }}.Run(t.Context())
	if tally.Lost != 20 || len(tally.Returns) != 20 || tally.Held[1] != 0 || tally.Held[2] != 20 {
		t.Fatalf("%+v", tally)
	}
	for _, r := range tally.Returns {
		if r.From != 1 || r.To != 2 || r.Lost <= 0 || r.Back < r.Lost {
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
	tally := Held{Server: server, Visits: visits(1, time.Hour), Length: 30 * time.Second, Enough: all}.Run(t.Context())
	if tally.Served != 1 || tally.Failed != 2 || !errors.Is(tally.Err, ErrReset) || tally.Latency.Max() < 2*retry.Microseconds() {
		t.Errorf("%+v", tally)
	}
}

func TestHeldIsNotServed(t *testing.T) {
	h := Held{Visits: visits(1, time.Hour), Length: time.Minute, Timeout: 50 * time.Millisecond}
	if tally := untilThird(t, h, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }); tally.Served != 0 || tally.Failed < 2 || !errors.Is(tally.Err, ErrTimeout) {
		t.Errorf("by a server that says nothing: %+v", tally)
	}
	h.Timeout = time.Minute
	if tally := untilThird(t, h, says("HTTP/1.1 503 Service Unavailable\r\n\r\n")); tally.Served != 0 || tally.Failed < 2 || !errors.Is(tally.Err, ErrWrong) {
		t.Errorf("by a server that refuses: %+v", tally)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h.Length = time.Hour
	h.Run(ctx)
}

// untilThird runs until a third attempt, before which two have failed.
func untilThird(t *testing.T, h Held, handle func(net.Conn)) HeldTally {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var attempts atomic.Int32
	h.Server = serve(t, func(conn net.Conn) {
		if attempts.Add(1) == 3 {
			cancel()
		}
		handle(conn)
	})
	return h.Run(ctx)
}

func TestRoom(t *testing.T) {
	if n, err := Room(10); err != nil || n != 10 {
		t.Errorf("room for %d of 10: %v", n, err)
	}
	if n, err := Room(1 << 31); err != nil || n < 10 || n >= 1<<31 {
		t.Errorf("room for %d: %v", n, err)
	}
}
