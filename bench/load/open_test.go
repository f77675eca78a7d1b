package load

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// every are n arrivals, so far apart.
func every(apart time.Duration, n int) (all []Arrival) {
	for i := range n {
		all = append(all, Arrival{At: time.Duration(i) * apart})
	}
	return all
}

func TestOpenIsAnswered(t *testing.T) {
	server := serve(t, says(ok()))
	outcomes := Open{Server: server, Arrivals: every(time.Millisecond, 200)}.Run(t.Context())
	for i, o := range outcomes {
		if o.Err != nil || o.PID != os.Getpid() || o.At != time.Duration(i)*time.Millisecond || o.Latency <= 0 {
			t.Fatalf("request %d: %+v", i, o)
		}
	}
	if n := Histogram(outcomes).TotalCount(); n != 200 {
		t.Errorf("the histogram holds %d, not 200", n)
	}
}

// A server that does nothing for 200 ms keeps whoever is due then waiting: the
// first of them for all of it, and the last for hardly any.
func TestStallIsSeenByAllThatWereDue(t *testing.T) {
	const from, stall = 100 * time.Millisecond, 200 * time.Millisecond
	start := time.Now().Add(20 * time.Millisecond)
	var one sync.Mutex
	server := serve(t, func(conn net.Conn) {
		one.Lock()
		defer one.Unlock()
		if at := time.Since(start); at > from && at < from+stall {
			time.Sleep(from + stall - at)
		}
		says(ok())(conn)
	})
	outcomes := Open{Server: server, Arrivals: every(time.Millisecond, 400), Start: start}.Run(t.Context())
	for i, o := range outcomes {
		if o.Err != nil {
			t.Fatalf("request %d: %v", i, o.Err)
		}
		if must := from + stall - o.At; o.At > from+5*time.Millisecond && must > 0 && o.Latency < must-5*time.Millisecond {
			t.Errorf("the request due at %v took %v, but the server slept for %v more", o.At, o.Latency, must)
		}
	}
	waited := Histogram(outcomes[105:295])
	median := time.Duration(waited.ValueAtQuantile(50)) * time.Microsecond
	t.Logf("the median of those due while it slept is %v", median) // more than some 100 ms on a busy machine
	if median < 80*time.Millisecond {
		t.Errorf("the median of those due while it slept is %v, not some 100 ms", median)
	}
}

func TestArrivalsAreInTime(t *testing.T) {
	server := serve(t, says(ok()))
	outcomes := Open{Server: server, Arrivals: every(2*time.Millisecond, 200)}.Run(t.Context())
	late := NewHistogram()
	for _, o := range outcomes {
		Record(late, o.Late)
	}
	// A machine that stands still for a moment makes all late that are due then.
	t.Logf("half of the requests began more than %d µs late", late.ValueAtQuantile(50))
	if most := late.ValueAtQuantile(10); most > 1000 {
		t.Errorf("nine in ten requests began more than %d µs late", most)
	}
}

func TestFailuresAreToldApart(t *testing.T) {
	gone, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	refusing := gone.Addr().(*net.TCPAddr).AddrPort()
	silent := func(conn net.Conn) { _, _ = bufio.NewReader(conn).ReadString(0) }
	aborts := func(conn net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(conn))
		_ = conn.(*net.TCPConn).SetLinger(0)
	}
	tests := map[string]struct {
		server netip.AddrPort
		want   error
	}{
		"refused":       {refusing, ErrRefused},
		"reset":         {serve(t, aborts), ErrReset},
		"closed":        {serve(t, says()), ErrReset},
		"half":          {serve(t, says(ok()[:20])), ErrReset},
		"no body":       {serve(t, says(ok()[:len(ok())-2])), ErrReset},
		"silent":        {serve(t, silent), ErrTimeout},
		"503":           {serve(t, says("HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\n7\n")), ErrWrong},
		"no length":     {serve(t, says("HTTP/1.1 200 OK\r\n\r\n7\n")), ErrWrong},
		"no process":    {serve(t, says("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi\n")), ErrWrong},
		"more":          {serve(t, says(ok()+"more")), ErrWrong},
		"something":     {serve(t, says("220 mail.example.org ESMTP\r\n\r\n")), ErrWrong},
		"in two pieces": {serve(t, says(ok()[:30], ok()[30:])), nil},
		"without hurry": {serve(t, slowly(ok())), nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			timeout := time.Minute
			if errors.Is(test.want, ErrTimeout) {
				timeout = 300 * time.Millisecond
			}
			outcomes := Open{Server: test.server, Arrivals: every(time.Millisecond, 3), Timeout: timeout}.Run(t.Context())
			for _, o := range outcomes {
				if !errors.Is(o.Err, test.want) {
					t.Errorf("got %v, not %v", o.Err, test.want)
				}
				if errors.Is(o.Err, ErrTimeout) && (o.Latency < timeout || o.Latency > timeout+10*time.Second) {
					t.Errorf("it took %v to time out, not %v", o.Latency, timeout)
				}
			}
		})
	}
}

// slowly says it byte by byte.
func slowly(text string) func(net.Conn) {
	return func(conn net.Conn) {
		for i := range text {
			_, _ = conn.Write([]byte{text[i]})
			time.Sleep(time.Millisecond)
		}
	}
}

// What must wait for the handshake, since the queue of the server is full, is
// sent when it is over.
func TestFullQueue(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 1)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	server := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(name.(*unix.SockaddrInet4).Port))
	var served sync.WaitGroup
	start := time.Now()
	served.Go(func() {
		time.Sleep(100*time.Millisecond - time.Since(start))
		for range 5 {
			conn, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
			if err != nil {
				return
			}
			_, _ = unix.Read(conn, make([]byte, 1000))
			_, _ = unix.Write(conn, []byte(ok()))
			unix.Close(conn)
		}
	})
	for _, o := range (Open{Server: server, Arrivals: every(0, 5), Timeout: time.Minute, Start: start}).Run(t.Context()) {
		if o.Err != nil || o.Latency < 90*time.Millisecond {
			t.Errorf("got %+v, not an answer after 100 ms or more", o)
		}
	}
	served.Wait()
}

func TestThousandsAtOnce(t *testing.T) {
	server := serve(t, func(conn net.Conn) {
		time.Sleep(300 * time.Millisecond)
		says(ok())(conn)
	})
	outcomes := Open{Server: server, Arrivals: every(0, 5000), Timeout: time.Minute}.Run(t.Context())
	for i, o := range outcomes {
		if o.Err != nil {
			t.Fatalf("request %d: %v", i, o.Err)
		}
	}
}

func TestContextEndsIt(t *testing.T) {
	server := serve(t, func(conn net.Conn) { _, _ = bufio.NewReader(conn).ReadString(0) })
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	began := time.Now()
	outcomes := Open{Server: server, Arrivals: every(100*time.Millisecond, 100)}.Run(ctx)
	for i, o := range outcomes {
		if !errors.Is(o.Err, context.DeadlineExceeded) || o.At != time.Duration(i)*100*time.Millisecond {
			t.Errorf("request %d: %+v", i, o)
		}
	}
	if took := time.Since(began); took > 8*time.Second { // of the ten in which all would come
		t.Errorf("it took %v", took)
	}
}
