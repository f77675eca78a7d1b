package clients

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Limits bound a load, and say how much of it there is at a time.
type Limits struct {
	// Count is how many connections are opened at most; 0: 1,000.
	Count int
	// Duration is for how long new connections are opened; 0: 10 s. Those that
	// are open then still get their answer, or Client.Timeout.
	Duration time.Duration
	// Concurrency is how many connections there are at once, at most; 0: 16.
	Concurrency int
	// Rate is how many connections are opened in a second, evenly; 0: as many as
	// Concurrency allows. A server too slow for it is not asked faster later on
	// than Concurrency allows.
	Rate float64
	// Abrupt ends each connection with a RST, which leaves no port in TIME_WAIT,
	// instead of a FIN.
	Abrupt bool
}

func (l Limits) withDefaults() Limits {
	if l.Count == 0 {
		l.Count = 1000
	}
	if l.Duration == 0 {
		l.Duration = 10 * time.Second
	}
	if l.Concurrency == 0 {
		l.Concurrency = 16
	}
	return l
}

// Load is [Client.Load] of the zero Client.
func Load(ctx context.Context, server netip.AddrPort, limits Limits) Ledger {
	return Client{}.Load(ctx, server, limits)
}

// Load opens connection after connection to server, asks once on each, and
// closes it when the answer has come. It ends with the limits or with ctx,
// whichever is first, and returns when every connection has ended. The answer
// of a worker that wasn't meant to answer is for the caller to find, in the
// ledger's PIDs.
func (c Client) Load(ctx context.Context, server netip.AddrPort, limits Limits) Ledger {
	limits = limits.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, limits.Duration)
	defer cancel()

	turns := make(chan struct{})
	var mu sync.Mutex
	var ledger Ledger
	var clients sync.WaitGroup
	for range limits.Concurrency {
		clients.Go(func() {
			for range turns {
				e := c.once(server, limits.Abrupt)
				mu.Lock()
				ledger = append(ledger, e)
				mu.Unlock()
			}
		})
	}
	giveTurns(ctx, turns, limits)
	clients.Wait()
	slices.SortFunc(ledger, func(a, b Exchange) int { return a.Started.Compare(b.Started) })
	return ledger
}

// giveTurns sends as many turns as the limits allow, at their times, and closes
// the channel.
func giveTurns(ctx context.Context, turns chan<- struct{}, limits Limits) {
	defer close(turns)

	begin := time.Now()
	for i := range limits.Count {
		if limits.Rate > 0 {
			due := begin.Add(time.Duration(float64(i) / limits.Rate * float64(time.Second)))
			if !sleepUntil(ctx, due) {
				return
			}
		}
		select {
		case turns <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
}

// sleepUntil is false if ctx ended first.
func sleepUntil(ctx context.Context, due time.Time) bool {
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// once is a connection for one question.
func (c Client) once(server netip.AddrPort, abrupt bool) Exchange {
	conn, e := c.exchange(server)
	switch {
	case conn.file == nil: // never connected
	case abrupt:
		conn.Reset()
	default:
		conn.Close()
	}
	return e
}

// exchange connects and asks once, and leaves the connection open.
func (c Client) exchange(server netip.AddrPort) (*Conn, Exchange) {
	e := Exchange{Started: time.Now()}
	conn, err := c.open(server)
	e.Local = conn.Local
	if err != nil {
		return conn, e.ended(Answer{}, err)
	}
	e.Connected = time.Now()
	answer, err := conn.Ask()
	return conn, e.ended(answer, err)
}
