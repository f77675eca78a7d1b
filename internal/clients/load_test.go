package clients_test

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/clients"
)

func TestLoadOutcomes(t *testing.T) {
	for _, c := range []struct {
		name   string
		server func(net.Conn)
		want   clients.Outcome
	}{
		{"answered", answering("1"), clients.Answered},
		{"reset", resetting, clients.Reset},
		{"closed", saying(""), clients.Reset},
		{"cut off", saying("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n1"), clients.Reset},
		{"silent", silent, clients.TimedOut},
		{"error", saying("HTTP/1.1 500 Oops\r\nContent-Length: 1\r\n\r\n1"), clients.Wrong},
		{"other text", answering("hello"), clients.Wrong},
		{"no process", answering("0"), clients.Wrong},
		{"no slot", answering("1 256"), clients.Wrong},
		{"too much", answering("1 2 3"), clients.Wrong},
		{"no HTTP", saying("1\n"), clients.Wrong},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := clients.Client{}
			if c.want == clients.TimedOut {
				client.Timeout = 500 * time.Millisecond // for the handshake too
			}
			ledger := client.Load(t.Context(), serve(t, "tcp4", c.server), clients.Limits{Count: 4, Concurrency: 2})
			if len(ledger) != 4 || len(ledger.With(c.want)) != 4 {
				t.Fatalf("got %v, want all 4 %v", ledger, c.want)
			}
			for _, e := range ledger {
				if e.Connected.Before(e.Started) || e.Ended.Before(e.Connected) {
					t.Errorf("times out of order: %v", e)
				}
				if e.Local.Port() == 0 {
					t.Errorf("no local port: %v", e)
				}
			}
		})
	}
}

func TestLoadRefused(t *testing.T) {
	ledger := clients.Load(t.Context(), unused(t), clients.Limits{Count: 4})
	if len(ledger.With(clients.Refused)) != 4 {
		t.Fatalf("got %v, want all 4 refused", ledger)
	}
	for _, e := range ledger {
		if e.Local.Port() == 0 || !e.Connected.IsZero() {
			t.Errorf("local end %s, connected at %v; want a port and no time", e.Local, e.Connected)
		}
	}
}

func TestLoadFails(t *testing.T) {
	// A link-local address without a link can't be connected to.
	ledger := clients.Load(t.Context(), netip.MustParseAddrPort("[fe80::1]:80"), clients.Limits{Count: 1})
	if len(ledger.With(clients.Failed)) != 1 {
		t.Fatalf("got %v, want a failure of the client", ledger)
	}
}

func TestLoadEcho(t *testing.T) {
	client := clients.Client{Ask: clients.Echo}
	ledger := client.Load(t.Context(), serve(t, "tcp4", echoing("7 ")), clients.Limits{Count: 10})
	if got, want := ledger.PIDs(), map[int]int{7: 10}; !maps.Equal(got, want) {
		t.Errorf("answers by process: %v, want %v", got, want)
	}
	mixed := client.Load(t.Context(), serve(t, "tcp4", echoing("x")), clients.Limits{Count: 1})
	if len(mixed.With(clients.Wrong)) != 1 {
		t.Errorf("got %v, want a wrong answer", mixed)
	}
}

func TestLoadOtherBody(t *testing.T) {
	client := clients.Client{Ask: clients.HTTPBody(func(body string) (clients.Answer, error) {
		if body != "hello" {
			return clients.Answer{}, errors.New("not hello")
		}
		return clients.Answer{PID: 9}, nil
	})}
	ledger := client.Load(t.Context(), serve(t, "tcp4", answering("hello")), clients.Limits{Count: 2, Abrupt: true})
	if got, want := ledger.PIDs(), map[int]int{9: 2}; !maps.Equal(got, want) {
		t.Errorf("answers by process: %v, want %v", got, want)
	}
}

func TestLoadEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var served atomic.Int64
	server := serve(t, "tcp4", func(conn net.Conn) {
		if served.Add(1) == 10 {
			cancel()
		}
		answering("1")(conn)
	})
	ledger := clients.Load(ctx, server, clients.Limits{Count: 1 << 30, Duration: time.Hour})
	if int64(len(ledger)) != served.Load() || len(ledger.Lost()) > 0 {
		t.Errorf("got %v, want %d answered", ledger, served.Load())
	}
}

func TestLoadEndsWithDuration(t *testing.T) {
	limits := clients.Limits{Count: 1 << 30, Duration: 20 * time.Millisecond, Rate: 0.001}
	ledger := clients.Load(t.Context(), serve(t, "tcp4", answering("1")), limits)
	if len(ledger) > 1 {
		t.Errorf("got %v, want one at most: the next is due later than the end", ledger)
	}
}

// The nth connection never starts before its turn.
func TestLoadKeepsRate(t *testing.T) {
	const interval = time.Millisecond
	limits := clients.Limits{Count: 20, Rate: float64(time.Second / interval)}
	begin := time.Now()
	ledger := clients.Load(t.Context(), serve(t, "tcp4", answering("1")), limits)
	if len(ledger) != 20 {
		t.Fatalf("got %v, want 20", ledger)
	}
	for i, e := range ledger {
		if e.Started.Sub(begin) < time.Duration(i)*interval {
			t.Errorf("exchange %d started after %v, before its turn", i, e.Started.Sub(begin))
		}
	}
}

func TestLedgerTellsLosses(t *testing.T) {
	ledger := clients.Load(t.Context(), unused(t), clients.Limits{Count: 5})
	text := ledger.String()
	for _, want := range []string{"5 exchanges, 5 refused", "refused from 127.0.0.1:", "connection refused"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q doesn't say %q", text, want)
		}
	}
	if lines := strings.Count(text, "\n"); lines != 3 {
		t.Errorf("%d samples, want 3: %s", lines, text)
	}
}
