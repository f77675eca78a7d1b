package load

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestClosedKeepsSoManyUnderWay(t *testing.T) {
	const atOnce, length = 10, 200 * time.Millisecond
	var mu sync.Mutex
	var now, most int
	all := make(chan struct{}) // closed: so many were there
	allAreThere := sync.OnceFunc(func() { close(all) })
	server := serve(t, func(conn net.Conn) {
		mu.Lock()
		now++
		if most = max(most, now); most == atOnce {
			allAreThere()
		}
		mu.Unlock()
		if r, err := http.ReadRequest(bufio.NewReader(conn)); err != nil || r.URL.String() != "/work?us=1234.5" {
			t.Errorf("asked for %v, %v", r, err)
		}
		select { // the first wait for the others, however busy the machine is
		case <-all:
		case <-time.After(10 * time.Second):
		}
		time.Sleep(5 * time.Millisecond)
		mu.Lock()
		now--
		mu.Unlock()
		fmt.Fprint(conn, ok())
	})
	tally := Closed{Server: server, Concurrency: atOnce, Length: length, Service: 1234500}.Run(t.Context())
	if tally.Failed != 0 || tally.PIDs[os.Getpid()] != tally.Answered || tally.Latency.TotalCount() != int64(tally.Answered) {
		t.Errorf("%+v", tally)
	}
	mu.Lock()
	defer mu.Unlock()
	if most != atOnce {
		t.Errorf("%d at once, not %d", most, atOnce)
	}
	if rate := tally.Rate(); rate > 2000 || math.Abs(rate*tally.Took.Seconds()-float64(tally.Answered)) > 0.5 || tally.Answered < atOnce {
		t.Errorf("%.0f requests/s, where 10 at once of 5 ms give less than 2000; %d in %v", rate, tally.Answered, tally.Took)
	}
}

func TestClosedKeepsConnections(t *testing.T) {
	var conns, requests atomic.Int64
	server := serve(t, func(conn net.Conn) {
		conns.Add(1)
		r := bufio.NewReader(conn)
		for i := range 20 { // and then it closes, unasked
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			requests.Add(1)
			if i == 19 {
				fmt.Fprint(conn, ok())
				return
			}
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n7\n")
		}
	})
	const lanes = 4
	tally := Closed{Server: server, Concurrency: lanes, Length: 200 * time.Millisecond, KeepAlive: true}.Run(t.Context())
	if tally.Failed != 0 {
		t.Errorf("%d failed: %v", tally.Failed, tally.Err)
	}
	// All but the last connection of each lane are used up.
	if int64(tally.Answered) != requests.Load() || requests.Load() < 20*(conns.Load()-lanes) {
		t.Errorf("%d answers to %d requests on %d connections", tally.Answered, requests.Load(), conns.Load())
	}
}

func TestClosedCountsFailures(t *testing.T) {
	server := serve(t, func(conn net.Conn) { _ = conn.(*net.TCPConn).SetLinger(0) })
	tally := Closed{Server: server, Concurrency: 2, Length: 200 * time.Millisecond}.Run(t.Context())
	if tally.Answered != 0 || tally.Failed < 2 || tally.Failed > 20 || !errors.Is(tally.Err, ErrReset) {
		t.Errorf("%+v", tally)
	}
	silent := serve(t, func(conn net.Conn) { _, _ = bufio.NewReader(conn).ReadString(0) })
	tally = Closed{Server: silent, Length: 100 * time.Millisecond, Timeout: 50 * time.Millisecond}.Run(t.Context())
	if tally.Failed == 0 || !errors.Is(tally.Err, ErrTimeout) || tally.Rate() != 0 {
		t.Errorf("%+v", tally)
	}
}

func TestAddressesAreMany(t *testing.T) {
	seen := make(chan string, 10000)
	server := serve(t, func(conn net.Conn) {
		seen <- conn.RemoteAddr().(*net.TCPAddr).IP.String()
		says(ok())(conn)
	})
	Open{Server: server, Arrivals: every(0, sources)}.Run(t.Context())
	all := map[string]bool{}
	for range sources {
		all[<-seen] = true
	}
	if len(all) < sources/2 {
		t.Errorf("%d connections came from %d addresses", sources, len(all))
	}
}

func TestIPv6(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp6", "[::1]:0")
	if err != nil {
		t.Skip(err)
	}
	defer listener.Close()
	go func() {
		if conn, err := listener.Accept(); err == nil {
			defer conn.Close()
			says(ok())(conn)
		}
	}()
	server := listener.Addr().(*net.TCPAddr).AddrPort()
	if o := (Open{Server: server, Arrivals: every(0, 1)}.Run(t.Context())); o[0].Err != nil {
		t.Error(o[0].Err)
	}
}
