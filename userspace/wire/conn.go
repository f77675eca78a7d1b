package wire

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A Conn is a client's end: of a session, for a worker.
type Conn struct{ conn *net.UnixConn }

// Dial connects to the socket at path. It wraps [ErrNobody] if nobody listens
// there.
func Dial(ctx context.Context, path string) (*Conn, error) {
	conn, err := dial(ctx, path)
	if err != nil {
		return nil, err
	}
	return &Conn{conn}, nil
}

// Send sends a request, with files that stay the caller's.
func (c *Conn) Send(r Request, files ...*os.File) error {
	r.Version = Version
	return send(c.conn, r, files...)
}

// Receive returns the next reply, and the files that came with it, which are
// the caller's to close. The end is io.EOF.
func (c *Conn) Receive() (Reply, []*os.File, error) {
	p, err := receive(c.conn, MaxMessage)
	if err != nil {
		return Reply{}, nil, err
	}
	var r Reply
	if err := p.decode(&r); err != nil {
		closeAll(p.files)
		return Reply{}, nil, err
	}
	return r, p.files, nil
}

// SetDeadline is when Send and Receive give up, with an error that wraps
// [os.ErrDeadlineExceeded]. The zero time is never.
func (c *Conn) SetDeadline(t time.Time) error { return c.conn.SetDeadline(t) }

// Close ends the session. Calls of the other methods end.
func (c *Conn) Close() error { return c.conn.Close() }

// crowdedPause is how long the next try waits if the socket's queue is full.
const crowdedPause = 5 * time.Millisecond

func dial(ctx context.Context, path string) (*net.UnixConn, error) {
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "unixpacket", path)
		switch {
		case err == nil:
			return conn.(*net.UnixConn), nil
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
			return nil, fmt.Errorf("%w at %s", ErrNobody, path)
		case errors.Is(err, fs.ErrPermission):
			return nil, fmt.Errorf("connect to %s: run as a user who may, or as root: %w", path, err)
		case !errors.Is(err, unix.EAGAIN):
			return nil, err
		}
		if err := sleep(ctx, crowdedPause); err != nil {
			return nil, err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
