package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// keeps answers request after request, as many as it may on each connection,
// after a pause. Its process ID is the connection's number.
func keeps(most int, pause time.Duration) func(net.Conn) {
	var connections atomic.Int32
	return func(conn net.Conn) {
		number := connections.Add(1)
		requests := bufio.NewReader(conn)
		for range most {
			if _, err := http.ReadRequest(requests); err != nil {
				return
			}
			time.Sleep(pause)
			body := fmt.Sprintf("%d\n", number)
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	}
}

func keep(t *testing.T, handle func(net.Conn), n int) *Kept {
	t.Helper()
	k, err := Keep(t.Context(), serve(t, handle), n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

func TestKeptLoop(t *testing.T) {
	k := keep(t, keeps(math.MaxInt, 0), 3)
	const length = 500 * time.Millisecond
	tally := k.Loop(t.Context(), length)
	if tally.Err != nil || tally.Answered < 30 || k.Redials != 0 {
		t.Errorf("%d answered, %d redials: %v", tally.Answered, k.Redials, tally.Err)
	}
	if len(tally.PIDs) != 3 {
		t.Errorf("connections %v", tally.PIDs)
	}
	if tally.Took < length/2 || tally.Took > 20*length {
		t.Errorf("took %v", tally.Took)
	}
}

func TestKeptTurnsWait(t *testing.T) {
	const pause = 100 * time.Millisecond
	k := keep(t, keeps(math.MaxInt, pause), 2)
	turns := []Turn{{Connection: 0}, {Connection: 0}, {Connection: 0}, {Connection: 1}}
	o := k.Ask(t.Context(), turns)
	for i, least := range []time.Duration{pause, 2 * pause, 3 * pause, pause} {
		if o[i].Err != nil || o[i].Latency < least {
			t.Errorf("turn %d took %v: %v; at least %v is due", i, o[i].Latency, o[i].Err, least)
		}
	}
	if o[3].Latency > o[2].Latency {
		t.Errorf("a turn of another connection took %v, as long as three of one with %v", o[3].Latency, o[2].Latency)
	}
	if o[0].PID != o[2].PID || o[0].PID == o[3].PID {
		t.Errorf("connections %+v", o)
	}
}

func TestKeptRedials(t *testing.T) {
	var served atomic.Int32
	closed := make(chan struct{}, 10)
	k := keep(t, func(conn net.Conn) {
		served.Add(1)
		keeps(2, 0)(conn)
		conn.Close()
		closed <- struct{}{}
	}, 1)
	later := []Turn{{Arrival: Arrival{At: 20 * time.Millisecond}}} // until then it looks at what came
	for i := range 5 {
		if o := k.Ask(t.Context(), later)[0]; o.Err != nil || o.PID != 1 {
			t.Fatalf("turn %d: %+v", i, o)
		}
		if i%2 == 0 { // the second request of a connection: Keep made one
			<-closed
		}
	}
	if k.Redials != 2 || served.Load() != 3 {
		t.Errorf("%d redials, %d connections", k.Redials, served.Load())
	}
}

func TestKeptFailures(t *testing.T) {
	if _, err := Keep(t.Context(), serve(t, func(net.Conn) {}), 1); !errors.Is(err, ErrReset) {
		t.Errorf("with a server that hangs up: %v", err)
	}
	k := keep(t, func(conn net.Conn) {
		keeps(1, 0)(conn)
		_, _ = io.Copy(io.Discard, conn) // until the client is gone
	}, 1)
	k.Timeout = 30 * time.Millisecond
	if o := k.Ask(t.Context(), make([]Turn, 1)); !errors.Is(o[0].Err, ErrTimeout) {
		t.Errorf("with a server that hangs: %+v", o[0])
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if o := k.Ask(ctx, make([]Turn, 3)); !errors.Is(o[2].Err, context.Canceled) {
		t.Errorf("after the end: %+v", o)
	}
	if tally := k.Loop(ctx, time.Second); !errors.Is(tally.Err, context.Canceled) || tally.Failed != 1 {
		t.Errorf("after the end: %+v", tally)
	}
}

func TestUnequal(t *testing.T) {
	const n, rate = 4, 1000.0
	turns := Unequal(rand.New(rand.NewPCG(1, 2)), n, rate, 10*time.Second)
	var counts [n]float64
	for i, turn := range turns {
		counts[turn.Connection]++
		if i > 0 && turn.At < turns[i-1].At {
			t.Fatalf("turn %d at %v comes after one at %v", i, turn.At, turns[i-1].At)
		}
	}
	for i, share := range []float64{12. / 25, 6. / 25, 4. / 25, 3. / 25} {
		if got := counts[i] / (10 * rate); math.Abs(got-share) > 0.03 {
			t.Errorf("connection %d has %.3f of the requests, not %.3f", i, got, share)
		}
	}
}
