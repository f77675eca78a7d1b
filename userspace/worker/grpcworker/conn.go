package grpcworker

import (
	"net"
	"sync"
)

// A conn is a connection whose client can be asked to leave.
type conn struct {
	net.Conn

	mu     sync.Mutex
	frames frames
	ask    bool // the client is to be asked, as soon as a frame may stand there
	asked  bool
	err    error // of the last write: what was half written can't be gone on with
}

// Write writes what the server wants to, and between two of its frames the
// request to leave.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ask || c.asked {
		c.frames.all(p)
		return c.write(p)
	}
	return c.writeAsking(p)
}

func (c *conn) write(p []byte) (n int, err error) {
	n, err = c.Conn.Write(p)
	if err != nil {
		c.err = err
	}
	return n, err
}

func (c *conn) writeAsking(p []byte) (int, error) {
	before := 0
	if !c.frames.between() {
		before = c.frames.next(p)
		if !c.frames.between() {
			return c.write(p)
		}
	}
	if before > 0 {
		if n, err := c.write(p[:before]); err != nil {
			return n, err
		}
	}
	if err := c.sayGoAway(); err != nil {
		return before, err
	}
	c.frames.all(p[before:])
	n, err := c.write(p[before:])
	return before + n, err
}

// sayGoAway is for a moment between two frames.
func (c *conn) sayGoAway() error {
	c.asked = true
	_, err := c.write(goAway)
	return err
}

// leave asks the client to begin nothing new here. What is in flight goes on;
// the client closes the connection after it. It says whether the client was
// asked, or will be before the next frame: not if this isn't HTTP/2. It may wait
// for a write that is under way.
func (c *conn) leave() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ask || c.err != nil || c.frames.opaque {
		return c.ask
	}
	c.ask = true
	if c.frames.between() {
		return c.sayGoAway() == nil
	}
	return true
}
