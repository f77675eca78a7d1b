package worker

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is a connection that a [Listener] accepted. It is a *net.TCPConn by embedding,
// and counts its requests. A server that can't use [Handler] calls Begin and End for
// each request; see [ConnOf] and [Lookup] for how it gets at the Conn. All methods but
// those of the TCPConn do nothing on a nil *Conn, which is what they return for a
// connection of another kind.
type Conn struct {
	*net.TCPConn

	listener *Listener
	local    *net.TCPAddr  // of this connection alone: see Lookup
	active   atomic.Int64  // requests in flight
	finished atomic.Uint64 // requests, if somebody wants to know

	release  atomic.Bool
	released func() // under mu
	mu       sync.Mutex
	closed   sync.Once

	born time.Time
	seen [window]uint64 // finished, at the looks of the rebalancing
}

// byAddress finds a Conn by its local address: the pointer, so that neither a
// middleware that rewrites addresses nor two listeners confuse it.
var byAddress sync.Map // *net.TCPAddr -> *Conn

func newConn(l *Listener, tcp *net.TCPConn) *Conn {
	c := &Conn{TCPConn: tcp, listener: l, born: time.Now()}
	if local, ok := tcp.LocalAddr().(*net.TCPAddr); ok {
		own := *local
		c.local = &own
	} else {
		c.local = new(net.TCPAddr)
	}
	byAddress.Store(c.local, c)
	l.enter(c)
	return c
}

// LocalAddr returns the local address, always the same *net.TCPAddr.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// NetConn returns the *net.TCPConn.
func (c *Conn) NetConn() net.Conn { return c.TCPConn }

// Close closes the connection. Requests in flight count until they end.
func (c *Conn) Close() error {
	c.closed.Do(func() {
		byAddress.Delete(c.local)
		c.listener.leaveConn(c)
	})
	return c.TCPConn.Close()
}

// ConnOf returns the Conn below a connection such as a *tls.Conn, or nil.
// It looks through everything that has a method NetConn() net.Conn.
func ConnOf(conn net.Conn) *Conn {
	for {
		switch c := conn.(type) {
		case *Conn:
			return c
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

// Lookup returns the open Conn whose LocalAddr returned this very address, or
// nil. Libraries pass the address on where they hide the connection: net/http
// as [net/http.LocalAddrContextKey], gRPC in stats.ConnTagInfo, fasthttp as
// RequestCtx.LocalAddr, all of them also with TLS.
func Lookup(local net.Addr) *Conn {
	address, ok := local.(*net.TCPAddr)
	if !ok || address == nil {
		return nil
	}
	c, ok := byAddress.Load(address)
	if !ok {
		return nil
	}
	return c.(*Conn)
}

// Begin tells that a request, a call, or a message begins to be served. What that does to
// the load is what [WithLoad] says. Each Begin needs an End.
func (c *Conn) Begin() {
	if c != nil {
		c.begin(true)
	}
}

// End tells that a request is finished, well or not.
func (c *Conn) End() {
	if c != nil {
		c.end(true)
	}
}

// begin and end: an endless request says nothing about a stall.
func (c *Conn) begin(ends bool) {
	active, l := c.active.Add(1), c.listener
	if l.o.kind == InFlight || l.o.kind == Excess && active > 1 {
		l.load.Inc()
	}
	if l.o.stall > 0 && ends {
		l.inFlight.Add(1)
	}
}

func (c *Conn) end(ends bool) {
	active, l := c.active.Add(-1), c.listener
	if l.o.kind == InFlight || l.o.kind == Excess && active > 0 {
		l.load.Done()
	}
	l.finished.Add(1)
	if l.o.stall > 0 && ends {
		l.inFlight.Add(-1)
	}
	if l.o.rebalance != nil {
		c.finished.Add(1)
	}
}

// Leaving tells whether the worker wants the client to come back by another connection:
// because of [WithRebalance], or because it drains under [Run]. The server
// then closes the connection at the next chance that costs no request:
// with HTTP/1 by "Connection: close" in its next response, with HTTP/2 by GOAWAY.
func (c *Conn) Leaving() bool {
	return c != nil && (c.release.Load() || c.listener.leaving.Load())
}

// OnLeaving has f called, once and in a goroutine of its own, when Leaving becomes
// true: for servers that can tell the client at any time, as with GOAWAY. A second f
// replaces the first.
func (c *Conn) OnLeaving(f func()) {
	if c == nil || f == nil {
		return
	}
	c.mu.Lock()
	c.released = f
	c.mu.Unlock()
	if c.Leaving() {
		c.tell()
	}
}

// letGo makes Leaving true.
func (c *Conn) letGo() {
	c.release.Store(true)
	c.tell()
}

func (c *Conn) tell() {
	c.mu.Lock()
	f := c.released
	c.released = nil
	c.mu.Unlock()
	if f != nil {
		go f()
	}
}
