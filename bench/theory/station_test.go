package theory

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sockdist/sockdist/bench/load"
	"github.com/sockdist/sockdist/bench/result"
)

// station serves with so many workers, from one queue, and each for longer than asked.
func station(t *testing.T, workers int, overhead time.Duration) netip.AddrPort {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				serve(conn, overhead)
			}
		})
	}
	t.Cleanup(func() {
		listener.Close()
		all.Wait()
	})
	return listener.Addr().(*net.TCPAddr).AddrPort()
}

func serve(conn net.Conn, overhead time.Duration) {
	defer conn.Close()
	request, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	us, err := strconv.ParseFloat(request.URL.Query().Get("us"), 64)
	if err != nil {
		fmt.Fprint(conn, "HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n")
		return
	}
	time.Sleep(overhead + time.Duration(us*1000))
	fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n7\n")
}

func TestCalibrateFindsTheOverhead(t *testing.T) {
	server := station(t, 1, 3*time.Millisecond)
	got, err := Calibrate(t.Context(), server, []time.Duration{2 * time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond})
	if err != nil || got < 3*time.Millisecond || got > 15*time.Millisecond {
		t.Errorf("got %v, %v, not some more than 3 ms", got, err)
	}
}

func TestCalibrateFails(t *testing.T) {
	nobody := netip.MustParseAddrPort("127.0.0.1:1")
	if _, err := Calibrate(t.Context(), nobody, []time.Duration{time.Millisecond}); !errors.Is(err, load.ErrRefused) {
		t.Errorf("with nobody there: %v", err)
	}
	if _, err := Calibrate(t.Context(), nobody, nil); err == nil {
		t.Error("nothing was asked for, and something found")
	}
}

// The workers sleep a millisecond too long; told so, the station keeps to theory
// about as well as a busy machine can.
func TestCheck(t *testing.T) {
	const overhead = time.Millisecond
	server := station(t, 4, overhead)
	ask := func(d time.Duration) time.Duration { return d - overhead }
	var checks []result.Check
	for range 5 { // in each the machine may stand still for a moment, which makes all slower
		var err error
		checks, err = Check(t.Context(), Station{server, 4, ask}, 0.7, 40*time.Millisecond, 3*time.Second, 1)
		if err != nil || len(checks) != 3 || checks[0].Name != "M/M/4, load 0.7, mean" {
			t.Fatalf("got %v, %v", checks, err)
		}
		slower := false
		for _, c := range checks {
			slower = slower || c.Measured > 2*c.Expected
			if c.Measured < 0.7*c.Expected {
				t.Errorf("%+v", c)
			}
		}
		if !slower {
			return
		}
	}
	t.Errorf("always too slow: %+v", checks)
}

// A station that isn't what it should be doesn't pass.
func TestCheckSeesAnotherQueue(t *testing.T) {
	server := station(t, 8, 0)
	ask := func(d time.Duration) time.Duration { return d }
	checks, err := Check(t.Context(), Station{server, 1, ask}, 0.8, 10*time.Millisecond, 2*time.Second, 1)
	if err != nil || !Noisy(checks) {
		t.Errorf("eight workers pass for one: %v, %v", checks, err)
	}
	if _, err := Check(t.Context(), Station{netip.MustParseAddrPort("127.0.0.1:1"), 1, ask}, 0.5, time.Millisecond, time.Second/5, 1); !errors.Is(err, load.ErrRefused) {
		t.Errorf("with nobody there: %v", err)
	}
}

func TestNoisy(t *testing.T) {
	for measured, want := range map[float64]bool{100: false, 104: false, 96: false, 106: true, 94: true, 0: true} {
		if got := Noisy([]result.Check{{Expected: 1, Measured: 1}, {Expected: 100, Measured: measured}}); got != want {
			t.Errorf("%v of 100 is noisy: %t", measured, got)
		}
	}
	if !Noisy([]result.Check{{}}) {
		t.Error("a check without a figure passes")
	}
}
