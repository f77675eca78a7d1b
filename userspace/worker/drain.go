package worker

import (
	"context"
	"time"
)

const (
	// quiet is how long the accept queue must stay empty, and nothing be accepted,
	// until a drain is over. It covers the handshakes of clients that are up to that
	// far away.
	quiet = 250 * time.Millisecond
	// quietPlain is that for a listener that others don't take over from: new connections
	// come all the time.
	quietPlain = 20 * time.Millisecond
	// look is how often the queue is looked at.
	look = 5 * time.Millisecond
	// outOfPicks is a load that keeps a worker out of the picks of least and p2c.
	outOfPicks = 1 << 40
)

// Drain leaves the picks and returns when what had been picked before is accepted: the
// accept queue is empty and stayed so for a quarter of a second, in which handshakes
// under way end too. So the caller must go on accepting meanwhile; then it closes the
// listener, or has its server shut down, and no connection is lost. Those that are
// accepted stay open.
//
// If the daemon isn't there to be told, the load does it, with the policies least and
// p2c. A worker that has not joined can't leave: then Drain only waits for an empty
// accept queue, which on systems other than Linux it can't see.
//
// There is no way back: a Listener that drains doesn't join again. The error is
// that of ctx, if it was over first. Drain may be called several times, also at once.
func (l *Listener) Drain(ctx context.Context) error {
	l.draining.Store(true)
	if !l.Steered() {
		return l.settle(ctx, quietPlain, false)
	}
	if !l.tellDrain(ctx) {
		l.load.adjust(ofDrain, outOfPicks)
	}
	return l.settle(ctx, quiet, true)
}

// settle returns when nothing waits in the queue, and hasn't for a while; with
// unpicked, when nothing was accepted in that while either. It counts looks: while the
// machine stands still no handshake ends.
func (l *Listener) settle(ctx context.Context, wait time.Duration, unpicked bool) error {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	calm, accepted := time.Duration(0), l.accepted.Load()
	for ; ; calm += look {
		now := l.accepted.Load()
		if l.waiting() > 0 || unpicked && now != accepted {
			calm, accepted = 0, now
		}
		if calm >= wait {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.closed:
			return nil
		case <-ticker.C:
		}
	}
}

// waiting returns how many connections are in the accept queue, or 0 if that can't
// be known.
func (l *Listener) waiting() int {
	raw, err := l.tcp.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	_ = raw.Control(func(fd uintptr) { n = queued(fd) })
	return n
}
