package worker

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// Listener is a worker's own listener: a [net.Listener] for TCP.
type Listener struct {
	tcp  *net.TCPListener
	o    options
	log  *slog.Logger
	load Load

	place    atomic.Pointer[place] // nil: it has never joined
	beats    atomic.Uint64         // last one that was published
	accepted atomic.Uint64
	_        [64]byte
	finished atomic.Uint64
	inFlight atomic.Int64 // only with WithStall
	_        [64]byte

	draining atomic.Bool // no heartbeat, no way back into the picks
	leaving  atomic.Bool // clients are asked to go
	shut     atomic.Bool // the socket is closed, but not the Listener
	member   *member     // nil: it doesn't try to join

	mu    sync.Mutex
	conns map[*Conn]struct{}

	closeOnce sync.Once
	closeErr  error
	closed    chan struct{}
	heart     sync.Once
	tasks     sync.WaitGroup
}

// place is where a worker is in its group.
type place struct {
	group string
	slot  int
	lines *lines
}

func (p *place) line() *line { return &p.lines[p.slot] }

// Listen listens at a TCP address, like [net.Listen], as a worker of a group.
//
// With a control socket (see [WithSocket]) it asks the daemon there for its listener, and
// returns when it has it; ctx limits that and nothing later. If nobody is at the
// socket, the listener is an ordinary one, and it joins when somebody comes. Without a
// control socket, and on systems other than Linux, it stays an ordinary one,
// with SO_REUSEPORT on Linux so that workers still share the port.
//
// The error wraps [ErrRefused] if the daemon doesn't let this worker in, with its reason.
func Listen(ctx context.Context, network, address string, opts ...Option) (*Listener, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, fmt.Errorf("worker: listen at %s: network %q isn't tcp, tcp4 or tcp6", address, network)
	}
	o := gather(opts)
	l := &Listener{o: o, log: o.log, conns: map[*Conn]struct{}{}, closed: make(chan struct{})}
	l.load.adjusted.Store(o.latencyUnit > 0 || o.rebalance != nil)
	l.load.line.Store(newLine())
	if err := l.open(ctx, network, address); err != nil {
		return nil, fmt.Errorf("worker: listen at %s: %w", address, err)
	}
	return l, nil
}

// Accept returns the next connection, a [*Conn].
func (l *Listener) Accept() (net.Conn, error) {
	tcp, err := l.tcp.AcceptTCP()
	for err != nil && l.listensAgain(err) {
		tcp, err = l.tcp.AcceptTCP()
	}
	if err != nil {
		if l.shut.Load() {
			<-l.closed // the server is to notice no earlier
		}
		return nil, err
	}
	l.accepted.Add(1)
	return newConn(l, tcp), nil
}

// Close stops listening, and leaves the group. Connections that wait in the accept queue
// go to other workers, if it has joined; else, the kernel resets them, unless
// net.ipv4.tcp_migrate_req is set. See [Listener.Drain]. Accepted connections
// stay.
func (l *Listener) Close() error {
	l.closeOnce.Do(func() {
		if err := l.tcp.Close(); !l.shut.Load() {
			l.closeErr = err
		}
		close(l.closed)
	})
	return l.closeErr
}

// turnAway lets nobody in any more, while Accept waits for Close.
func (l *Listener) turnAway() {
	l.shut.Store(true)
	_ = l.tcp.Close()
}

// Addr returns the address at which it listens.
func (l *Listener) Addr() net.Addr { return l.tcp.Addr() }

// SyscallConn returns the raw listening socket.
func (l *Listener) SyscallConn() (syscall.RawConn, error) { return l.tcp.SyscallConn() }

// Load returns the worker's load.
func (l *Listener) Load() *Load { return &l.load }

// Steered tells whether it has joined a group. That stays so when the daemon goes
// away, as does the steering.
func (l *Listener) Steered() bool { return l.place.Load() != nil }

// Slot returns the worker's slot in its group, or -1.
func (l *Listener) Slot() int {
	if p := l.place.Load(); p != nil {
		return p.slot
	}
	return -1
}

// Group returns the name of the group that it joined, or "".
func (l *Listener) Group() string {
	if p := l.place.Load(); p != nil {
		return p.group
	}
	return ""
}

// enter and leaveConn keep the list of open connections.
func (l *Listener) enter(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c] = struct{}{}
}

func (l *Listener) leaveConn(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// open conns, at this moment.
func (l *Listener) openConns() []*Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	conns := make([]*Conn, 0, len(l.conns))
	for c := range l.conns {
		conns = append(conns, c)
	}
	return conns
}

func (l *Listener) openCount() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

// listenPlain opens an ordinary listener.
func (l *Listener) listenPlain(ctx context.Context, network, address string) error {
	config := net.ListenConfig{Control: share}
	config.SetMultipathTCP(false)
	listener, err := config.Listen(ctx, network, address)
	if err != nil {
		return err
	}
	l.tcp = listener.(*net.TCPListener)
	return nil
}
