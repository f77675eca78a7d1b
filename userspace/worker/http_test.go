package worker_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/sockdist/sockdist/userspace/worker"
)

// A web is an HTTP server whose requests wait until the test lets them go.
type web struct {
	t        testing.TB
	l        *worker.Listener
	server   *http.Server
	client   *http.Client
	url      string
	begun    chan struct{}
	finish   chan struct{}
	requests sync.WaitGroup
}

// protocol is one of http1, http2, h2c, https1.
func newWeb(t testing.TB, protocol string, opts ...worker.Option) *web {
	t.Helper()
	w := &web{t: t, begun: make(chan struct{}, 1000), finish: make(chan struct{})}
	plain := []worker.Option{worker.WithSocket(""), worker.WithLogger(slog.New(slog.DiscardHandler))}
	l, err := worker.Listen(context.Background(), "tcp", "127.0.0.1:0", append(plain, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	w.l = l
	w.server = &http.Server{Handler: worker.Handler(w), ErrorLog: log.New(io.Discard, "", 0), Protocols: new(http.Protocols)}
	transport := &http.Transport{Protocols: new(http.Protocols), MaxConnsPerHost: 0}
	w.client = &http.Client{Transport: transport}
	w.url = "http://" + l.Addr().String()
	for _, p := range []*http.Protocols{w.server.Protocols, transport.Protocols} {
		p.SetHTTP1(protocol == "http1" || protocol == "https1")
		p.SetHTTP2(protocol == "http2")
		p.SetUnencryptedHTTP2(protocol == "h2c")
	}
	serve := func() error { return w.server.Serve(l) }
	if protocol == "http2" || protocol == "https1" {
		cert := certificate(t)
		w.server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
		pool := x509.NewCertPool()
		pool.AddCert(cert.Leaf)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
		w.url = "https://" + l.Addr().String()
		serve = func() error { return w.server.ServeTLS(l, "", "") }
	}
	served := make(chan error, 1)
	go func() { served <- serve() }()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		w.server.Close()
		if err := <-served; err != http.ErrServerClosed {
			t.Error(err)
		}
		w.requests.Wait()
	})
	return w
}

func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	raw, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: leaf}
}

func (w *web) ServeHTTP(http.ResponseWriter, *http.Request) {
	w.begun <- struct{}{}
	<-w.finish
}

// get sends n requests at once, and returns when all are in flight.
func (w *web) get(n int) {
	w.t.Helper()
	for range n {
		w.requests.Go(func() {
			reply, err := w.client.Get(w.url)
			if err != nil {
				w.t.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, reply.Body)
			reply.Body.Close()
		})
	}
	for range n {
		<-w.begun
	}
}

func TestHandlerCounts(t *testing.T) {
	for _, at := range []struct {
		protocol string
		kind     worker.LoadKind
		want     int64 // of 5 requests
	}{
		{"http1", worker.Excess, 0},
		{"https1", worker.Excess, 0},
		{"http2", worker.Excess, 4},
		{"h2c", worker.Excess, 4},
		{"http1", worker.InFlight, 5},
		{"http2", worker.InFlight, 5},
		{"http2", worker.Manual, 0},
	} {
		t.Run(fmt.Sprintf("%s/%d", at.protocol, at.kind), func(t *testing.T) {
			w := newWeb(t, at.protocol, worker.WithLoad(at.kind))
			for range 2 {
				w.get(1) // then there is a connection, and the rest shares it if it can
				w.get(4)
				if got := w.l.Load().Value(); got != at.want {
					t.Errorf("load %d of 5 requests, want %d", got, at.want)
				}
				for range 5 {
					w.finish <- struct{}{}
				}
				w.requests.Wait()
				eventually(t, "the load is 0", func() bool { return w.l.Load().Value() == 0 })
			}
		})
	}
}

func TestHandlerOnce(t *testing.T) {
	h := worker.Handler(http.NotFoundHandler())
	if worker.Handler(h) != h {
		t.Error("it is wrapped twice")
	}
}

// Requests that came through another listener are none of its business.
func TestHandlerElsewhere(t *testing.T) {
	s := httptest.NewServer(worker.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })))
	defer s.Close()
	reply, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	if body, _ := io.ReadAll(reply.Body); string(body) != "hello" {
		t.Errorf("got %q", body)
	}
}

// A handler that panics has finished too.
func TestHandlerPanics(t *testing.T) {
	l := listen(t, "127.0.0.1:0", worker.WithLoad(worker.InFlight))
	server := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: worker.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler)
	}))}
	go server.Serve(l)
	defer server.Close()
	if reply, err := http.Get("http://" + l.Addr().String()); err == nil {
		reply.Body.Close()
		t.Error("it answered")
	}
	if got := l.Load().Value(); got != 0 {
		t.Errorf("load %d", got)
	}
}

// A connection that was hijacked counts until the handler returns.
func TestHandlerHijack(t *testing.T) {
	l := listen(t, "127.0.0.1:0", worker.WithLoad(worker.InFlight))
	finish := make(chan struct{})
	server := &http.Server{Handler: worker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		if worker.ConnOf(conn) == nil {
			t.Error("the hijacked connection isn't a Conn")
		}
		fmt.Fprint(buffered, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
		buffered.Flush()
		<-finish
	}))}
	go server.Serve(l)
	defer server.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
	reply, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || reply.StatusCode != 101 || reply.Header.Get("Connection") != "Upgrade" {
		t.Fatalf("reply %+v: %v", reply, err)
	}
	if got := l.Load().Value(); got != 1 {
		t.Errorf("load %d, want 1", got)
	}
	close(finish)
	eventually(t, "the load is 0", func() bool { return l.Load().Value() == 0 })
}

// What net/http can do with a *net.TCPConn it can do with a Conn.
func TestConnIsATCPConn(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	accepted := make(chan net.Conn, 1)
	go func() {
		if conn, err := l.Accept(); err == nil {
			accepted <- conn
		}
	}()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn := <-accepted
	defer conn.Close()
	c := conn.(*worker.Conn)
	if err := c.SetNoDelay(true); err != nil {
		t.Error(err)
	}
	if _, ok := conn.(io.ReaderFrom); !ok {
		t.Error("no sendfile")
	}
	if raw, err := c.SyscallConn(); err != nil || raw == nil {
		t.Errorf("no raw connection: %v", err)
	}
	if c.NetConn() != net.Conn(c.TCPConn) || c.LocalAddr().String() != l.Addr().String() || c.LocalAddr() != c.LocalAddr() {
		t.Errorf("local address %v", c.LocalAddr())
	}
	if worker.Lookup(c.LocalAddr()) != c || worker.ConnOf(c) != c || worker.ConnOf(tls.Server(c, nil)) != c {
		t.Error("it can't be found")
	}
	if worker.Lookup(l.Addr()) != nil || worker.Lookup(nil) != nil || worker.Lookup((*net.TCPAddr)(nil)) != nil || worker.ConnOf(client) != nil {
		t.Error("something else was found")
	}
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	text := bytes.Repeat([]byte("sockdist"), 10_000)
	if _, err := file.Write(text); err != nil {
		t.Fatal(err)
	}
	file.Seek(0, io.SeekStart)
	go func() {
		_, _ = c.ReadFrom(file)
		c.Close()
	}()
	if got, err := io.ReadAll(client); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d bytes came: %v", len(got), err)
	}
	c.Close()
	if worker.Lookup(c.LocalAddr()) != nil {
		t.Error("it can be found after it was closed")
	}
}

// Other servers count with these; a connection of another kind has none, and none does nothing.
func TestBeginEnd(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	greeted := make(chan *worker.Conn, 1)
	go func() {
		if conn, err := l.Accept(); err == nil {
			greeted <- worker.ConnOf(conn)
		}
	}()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c := <-greeted
	defer c.Close()
	var calls sync.WaitGroup
	for range 10 {
		calls.Go(func() {
			for range 1000 {
				c.Begin()
				c.Begin()
				c.End()
				c.End()
			}
		})
	}
	calls.Wait()
	if got := l.Load().Value(); got != 0 {
		t.Errorf("load %d, want 0", got)
	}
	c.Begin()
	c.Begin()
	c.Begin()
	if got := l.Load().Value(); got != 2 {
		t.Errorf("load %d of 3 requests, want 2", got)
	}
	var none *worker.Conn
	none.Begin()
	none.End()
	none.OnLeaving(func() {})
	if none.Leaving() || c.Leaving() {
		t.Error("it leaves")
	}
}

// inContext is a request as it comes through the connection.
func inContext(c *worker.Conn) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, c.LocalAddr()))
}

func acceptOne(t testing.TB, l *worker.Listener) *worker.Conn {
	t.Helper()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*worker.Conn)
}

func TestHandlerAllocatesNothing(t *testing.T) {
	h := worker.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, opts := range [][]worker.Option{nil, {worker.WithLoad(worker.InFlight), worker.WithStall(time.Second), worker.WithRebalance(worker.Rebalance{})}} {
		r := inContext(acceptOne(t, listen(t, "127.0.0.1:0", opts...)))
		w := httptest.NewRecorder()
		if n := testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) }); n != 0 {
			t.Errorf("%v allocations a request", n)
		}
	}
}

// What Handler adds to a request.
func BenchmarkHandler(b *testing.B) {
	h := worker.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	w := httptest.NewRecorder()
	run := func(r *http.Request) func(*testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		}
	}
	b.Run("elsewhere", run(httptest.NewRequest("GET", "/", nil)))
	b.Run("excess", run(inContext(acceptOne(b, listen(b, "127.0.0.1:0")))))
	b.Run("inflight", run(inContext(acceptOne(b, listen(b, "127.0.0.1:0", worker.WithLoad(worker.InFlight))))))
	b.Run("all", run(inContext(acceptOne(b, listen(b, "127.0.0.1:0", worker.WithLoad(worker.InFlight), worker.WithStall(time.Second), worker.WithRebalance(worker.Rebalance{}))))))
}
