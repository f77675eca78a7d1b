package worker_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockdist/sockdist/userspace/worker"
)

// A crowd is clients of very unequal rates over workers of one group.
type crowd struct {
	w       *world
	opts    []worker.Option
	h2c     bool
	dialled atomic.Int64
	served  []*atomic.Int64 // requests, by worker
	clients sync.WaitGroup
	stop    chan struct{}
	end     func()
}

func newCrowd(t testing.TB, h2c bool, opts ...worker.Option) *crowd {
	c := &crowd{w: newWorld(t), opts: append(opts, worker.WithLogger(slog.New(slog.DiscardHandler))), h2c: h2c, stop: make(chan struct{})}
	c.end = sync.OnceFunc(func() { close(c.stop); c.clients.Wait() })
	return c
}

func (c *crowd) protocols() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(!c.h2c)
	p.SetUnencryptedHTTP2(c.h2c)
	return p
}

// hire adds a worker.
func (c *crowd) hire() {
	l := c.w.listen(c.opts...)
	served := new(atomic.Int64)
	c.served = append(c.served, served)
	server := &http.Server{Protocols: c.protocols(), ErrorLog: log.New(io.Discard, "", 0),
		Handler: worker.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) }))}
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(l) }()
	c.w.t.Cleanup(func() { c.end(); server.Close(); <-done })
}

// come starts a client that asks so often.
func (c *crowd) come(perSecond float64) {
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		c.dialled.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	transport := http.RoundTripper(&faithful{dial: dial})
	if c.h2c {
		transport = &http.Transport{Protocols: c.protocols(), DialContext: dial}
	}
	web := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	c.clients.Go(func() {
		defer web.CloseIdleConnections()
		ticker := time.NewTicker(time.Duration(float64(time.Second) / perSecond))
		defer ticker.Stop()
		for {
			select {
			case <-c.stop:
				return
			case <-ticker.C:
			}
			reply, err := web.Post("http://"+c.w.address(), "", nil)
			if err != nil {
				c.w.t.Errorf("a request was lost: %v", err)
				return
			}
			_, _ = io.Copy(io.Discard, reply.Body)
			reply.Body.Close()
		}
	})
}

// A faithful client of HTTP/1 keeps its connection until the server wants it to go. An
// http.Transport opens another one when it is kept from a CPU for 50 ms at a bad moment.
type faithful struct {
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	conn   net.Conn // nil: there is none
	reader *bufio.Reader
}

// RoundTrip is for one goroutine, and for replies without a body.
func (f *faithful) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.conn == nil {
		conn, err := f.dial(r.Context(), "tcp", r.URL.Host)
		if err != nil {
			return nil, err
		}
		f.conn, f.reader = conn, bufio.NewReader(conn)
	}
	reply, err := f.exchange(r)
	if err != nil || reply.Close {
		f.CloseIdleConnections()
	}
	return reply, err
}

func (f *faithful) exchange(r *http.Request) (*http.Response, error) {
	deadline, _ := r.Context().Deadline()
	if err := f.conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	if err := r.Write(f.conn); err != nil {
		return nil, err
	}
	return http.ReadResponse(f.reader, r)
}

func (f *faithful) CloseIdleConnections() {
	if f.conn != nil {
		f.conn.Close()
		f.conn = nil
	}
}

// busiest is the rate of the busiest worker over the mean, in that time.
func (c *crowd) busiest(during time.Duration) float64 {
	before := make([]int64, len(c.served))
	for i, s := range c.served {
		before[i] = s.Load()
	}
	time.Sleep(during)
	rates := make([]float64, len(c.served))
	sum := 0.0
	for i, s := range c.served {
		rates[i] = float64(s.Load() - before[i])
		sum += rates[i]
	}
	c.w.t.Logf("requests %v, connections ever %d", rates, c.dialled.Load())
	return slices.Max(rates) / sum * float64(len(rates))
}

// 40 clients, the busiest of which asks forty times as often as the quietest, over 2
// workers and then 4. Without rebalancing the busiest worker would keep twice its share.
func TestRebalance(t *testing.T) {
	t.Parallel()
	for _, h2c := range []bool{false, true} {
		t.Run(fmt.Sprintf("h2c=%v", h2c), func(t *testing.T) {
			t.Parallel()
			c := newCrowd(t, h2c, worker.WithRebalance(worker.Rebalance{}))
			c.hire()
			c.hire()
			for i := range 40 {
				c.come(120 / float64(i+1))
			}
			c.busiest(time.Second)
			c.hire()
			c.hire()
			if got := c.busiest(time.Second); got < 1.5 {
				t.Errorf("the busiest worker has %.2f of its share: there is nothing to rebalance", got)
			}
			eventually(t, "each worker has about its share, and hardly any connection moves", func() bool {
				before := c.dialled.Load()
				return c.busiest(5*time.Second) < 1.3 && c.dialled.Load()-before <= 2
			})
			if got := c.dialled.Load(); got < 42 || got > 120 {
				t.Errorf("%d connections were made by 40 clients", got)
			}
		})
	}
}

// One connection that is more than the surplus stays where it is.
func TestRebalanceKeepsTheGiant(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, false, worker.WithRebalance(worker.Rebalance{For: time.Second}))
	c.hire()
	c.hire()
	c.come(300)
	if got := c.busiest(8 * time.Second); got < 1.9 {
		t.Errorf("the busiest worker has %.2f of its share", got)
	}
	if got := c.dialled.Load(); got != 1 {
		t.Errorf("%d connections were made, and moved the problem", got)
	}
}

func TestRebalanceIsOff(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, false)
	c.hire()
	for range 4 {
		c.come(100)
	}
	c.busiest(time.Second)
	c.hire()
	if got := c.busiest(8 * time.Second); got < 1.9 {
		t.Errorf("the busiest worker has %.2f of its share", got)
	}
	if got := c.dialled.Load(); got != 4 {
		t.Errorf("%d connections were made", got)
	}
}
