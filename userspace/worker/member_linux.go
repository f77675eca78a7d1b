package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/userspace/wire"
)

const (
	// joinPatience is how long Listen waits for a daemon that takes the call and says
	// nothing, or has too much to do.
	joinPatience = 10 * time.Second
	// The pause before another try to join begins with firstPause, doubles up to
	// lastPause, and is refusedPause after a refusal.
	firstPause   = 100 * time.Millisecond
	lastPause    = 2 * time.Second
	refusedPause = 15 * time.Second
	// answerWithin is how long the daemon has for an answer in a session.
	answerWithin = 2 * time.Second
)

// member is the side of a Listener that speaks with the daemon.
type member struct {
	l    *Listener
	join wire.Join

	drained atomic.Bool // the daemon has confirmed it

	mu      sync.Mutex
	session *session      // nil: none now
	changed chan struct{} // closed when there is another session, or none
}

// errSilent: somebody is at the socket, who says nothing of use.
var errSilent = errors.New("the daemon doesn't answer")

// open gets the listener.
func (l *Listener) open(ctx context.Context, network, address string) error {
	if l.o.socket == "" {
		if err := l.listenPlain(ctx, network, address); err != nil {
			return err
		}
		l.log.Info("not steered: "+SocketVariable+" isn't set; an ordinary listener", "address", l.Addr().String())
		return nil
	}
	m := &member{
		l: l, changed: make(chan struct{}),
		join: wire.Join{Group: l.o.group, Network: network, Address: address},
	}
	l.member = m
	s, err := m.first(ctx, network, address)
	if err != nil {
		if l.tcp != nil {
			l.tcp.Close()
		}
		return err
	}
	if s != nil {
		m.set(s)
		l.log.Info("joined", "group", l.Group(), "slot", l.Slot(), "address", l.Addr().String())
	}
	l.tasks.Go(func() { m.keep(s) })
	return nil
}

// first joins, or opens an ordinary listener. Where that isn't possible it waits for the
// daemon for a while: its group's other workers may serve at the address.
func (m *member) first(ctx context.Context, network, address string) (*session, error) {
	deadline := time.Now().Add(joinPatience)
	for pause := firstPause; ; pause = longer(pause) {
		within, cancel := context.WithDeadline(ctx, deadline)
		s, err := m.enter(within)
		cancel()
		if err == nil || errors.Is(err, ErrRefused) {
			return s, err
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("join at %s: %w", m.l.o.socket, ctx.Err())
		}
		if !errors.Is(err, wire.ErrNobody) && time.Now().Before(deadline) {
			if sleep(ctx, pause, nil) {
				continue
			}
			return nil, fmt.Errorf("join at %s: %w", m.l.o.socket, ctx.Err())
		}
		var plain error
		if m.l.tcp == nil { // else it was to bring one
			plain = m.l.listenPlain(ctx, network, address)
		}
		if plain == nil {
			m.l.log.Warn("not steered: an ordinary listener until the daemon is there", "address", m.l.Addr().String(), "error", err)
			return nil, nil
		}
		if time.Now().After(deadline) || !sleep(ctx, pause, nil) {
			return nil, errors.Join(plain, err)
		}
	}
}

// enter dials and joins, with the listener if there is one.
func (m *member) enter(ctx context.Context) (*session, error) {
	conn, err := wire.Dial(ctx, m.l.o.socket)
	if errors.Is(err, unix.EACCES) {
		err = fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	seat, files, err := m.ask(ctx, conn)
	if err == nil {
		err = m.take(seat, files)
	}
	closeAll(files)
	if err != nil || !stop() {
		conn.Close()
		return nil, errors.Join(err, ctx.Err())
	}
	return newSession(conn), nil
}

// ask sends join, once or twice.
func (m *member) ask(ctx context.Context, conn *wire.Conn) (*wire.Seat, []*os.File, error) {
	reply, files, err := m.send(conn)
	if err == nil && reply.Bring && m.l.tcp == nil {
		closeAll(files)
		if err := m.l.listenPlain(ctx, m.join.Network, m.join.Address); err != nil {
			return nil, nil, err
		}
		reply, files, err = m.send(conn)
	}
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("%w: %w", errSilent, err)
	case reply.Busy:
		err = fmt.Errorf("%w: it has too much to do: %s", errSilent, reply.Error)
	case reply.Error != "":
		err = fmt.Errorf("%w: %s", ErrRefused, reply.Error)
	case reply.Seat == nil || len(reply.Seat.Descriptors) != len(files):
		err = fmt.Errorf("%w: its answer has no seat", errSilent)
	case reply.Seat.Slot < 0 || reply.Seat.Slot >= slots:
		err = fmt.Errorf("%w: there is no slot %d", errSilent, reply.Seat.Slot)
	}
	if err != nil {
		closeAll(files)
		return nil, nil, err
	}
	return reply.Seat, files, nil
}

// send sends join and returns the answer.
func (m *member) send(conn *wire.Conn) (wire.Reply, []*os.File, error) {
	var mine []*os.File
	if m.l.tcp != nil {
		file, err := m.l.tcp.File()
		if err != nil {
			return wire.Reply{}, nil, err
		}
		defer file.Close()
		mine = append(mine, file)
	}
	if err := conn.Send(wire.Request{Verb: wire.JoinGroup, Join: &m.join}, mine...); err != nil {
		return wire.Reply{}, nil, err
	}
	for {
		reply, files, err := conn.Receive()
		if err != nil || reply.Done || reply.Bring {
			return reply, files, err
		}
		closeAll(files)
	}
}

// take uses what came with the seat.
func (m *member) take(seat *wire.Seat, files []*os.File) error {
	var loads *os.File
	for i, name := range seat.Descriptors {
		switch name {
		case wire.FileListener:
			if m.l.tcp != nil {
				return fmt.Errorf("%w: a second listener", errSilent)
			}
			listener, err := net.FileListener(files[i])
			if err != nil {
				return err
			}
			tcp, ok := listener.(*net.TCPListener)
			if !ok {
				listener.Close()
				return fmt.Errorf("%w: its listener isn't one of TCP", errSilent)
			}
			m.l.tcp = tcp
		case wire.FileLoads:
			loads = files[i]
		}
	}
	if m.l.tcp == nil || loads == nil {
		return fmt.Errorf("%w: no listener, or no loads", errSilent)
	}
	shared, err := mapLines(loads)
	if err != nil {
		return fmt.Errorf("%w: %w", errSilent, err)
	}
	m.l.sit(seat.Group, seat.Slot, shared)
	return nil
}

func mapLines(file *os.File) (*lines, error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	var shared *lines
	var failed error
	if err := raw.Control(func(fd uintptr) { shared, failed = mapFD(int(fd)) }); err != nil {
		return nil, err
	}
	return shared, failed
}

// keep joins again whenever the session is lost, until the listener is closed.
func (m *member) keep(s *session) {
	for {
		if s == nil {
			if s = m.again(); s == nil {
				return
			}
			m.set(s)
		}
		select {
		case <-s.gone:
			m.set(nil)
			s.conn.Close()
			if m.l.isClosed() {
				return
			}
			m.l.log.Warn("the daemon has gone away: serving on, and joining again when it is back", "group", m.l.Group())
			s = nil
		case <-m.l.closed:
			_ = s.ask(context.Background(), wire.Quit)
			m.set(nil)
			s.end()
			return
		}
	}
}

// again tries until it has joined; nil: the listener is closed, or has drained.
func (m *member) again() *session {
	said, pause := "", firstPause
	for sleep(context.Background(), jittered(pause), m.l.closed) {
		if m.l.draining.Load() && (m.drained.Load() || !m.l.Steered()) {
			return nil // it must not come back into the picks
		}
		s, err := m.tryAgain()
		if err == nil {
			m.l.log.Info("joined", "group", m.l.Group(), "slot", m.l.Slot())
			return s
		}
		pause = longer(pause)
		if errors.Is(err, ErrRefused) {
			if err.Error() != said && !m.l.isClosed() {
				m.l.log.Warn("can't join: serving on, and trying again", "error", err)
				said = err.Error()
			}
			pause = refusedPause
		}
	}
	return nil
}

// tryAgain is one try, which the closing of the listener ends.
func (m *member) tryAgain() (*session, error) {
	ctx, cancel := context.WithTimeout(context.Background(), joinPatience)
	defer cancel()
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-m.l.closed:
			cancel()
		case <-over:
		}
	}()
	return m.enter(ctx)
}

// set makes s the session, and tells the daemon again what it must know.
func (m *member) set(s *session) {
	m.mu.Lock()
	m.session = s
	close(m.changed)
	m.changed = make(chan struct{})
	m.mu.Unlock()
	if s != nil && m.l.draining.Load() {
		_ = s.ask(context.Background(), wire.Drain)
	}
}

// tellDrain tells whether the daemon has taken the worker out of the picks. With no
// session it waits for one for a moment.
func (l *Listener) tellDrain(ctx context.Context) bool {
	m := l.member
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	for {
		m.mu.Lock()
		s, changed := m.session, m.changed
		m.mu.Unlock()
		if s != nil {
			err := s.ask(ctx, wire.Drain)
			if err == nil {
				m.drained.Store(true)
				return true
			}
			if errors.Is(err, ErrRefused) || ctx.Err() != nil {
				l.log.Warn("the daemon didn't take this worker out of the picks", "error", err)
				return false
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			l.log.Warn("the daemon isn't there to take this worker out of the picks")
			return false
		case <-l.closed:
			return false
		}
	}
}

func (l *Listener) isClosed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

func longer(pause time.Duration) time.Duration { return min(2*pause, lastPause) }

// jittered is between half of the pause and one and a half: workers that lost the
// same daemon shall not come all at once.
func jittered(pause time.Duration) time.Duration { return pause/2 + rand.N(pause) }

// sleep returns false if it was woken up.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-wake:
	}
	return false
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
