package output

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// A Client is the supervisor's end of a reading process.
type Client struct {
	conn *net.UnixConn
	gone chan struct{} // closed when the reading process is

	mu      sync.Mutex
	waiting map[uint64]chan []string
}

// Dial returns a client, and the socket that the reading process has to find
// at [SocketFD]. The caller starts that process and closes the socket.
func Dial() (*Client, *os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket for the output of workers: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "output")
	conn, err := unixConn(os.NewFile(uintptr(pair[0]), "output"))
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("make a socket for the output of workers: %w", err)
	}
	c := &Client{conn: conn, gone: make(chan struct{}), waiting: make(map[uint64]chan []string)}
	go c.receive()
	return c, theirs, nil
}

func (c *Client) receive() {
	defer close(c.gone)
	for {
		var answered reply
		files, err := receive(c.conn, &answered)
		closeAll(files)
		if err != nil {
			return
		}
		c.mu.Lock()
		waiting := c.waiting[answered.ID]
		delete(c.waiting, answered.ID)
		c.mu.Unlock()
		if waiting != nil {
			waiting <- answered.Lines
		}
	}
}

// Gone is closed when the reading process is gone, or Close was called.
func (c *Client) Gone() <-chan struct{} { return c.gone }

// Attach has the reading process read from both pipes. The files stay the
// caller's.
func (c *Client) Attach(run Run, stdout, stderr *os.File) error {
	return send(c.conn, request{Attach: &run}, stdout, stderr)
}

// Tail returns the last lines of a run, and has them forgotten. It returns nil
// when the reading process is gone or doesn't answer before the context ends.
func (c *Client) Tail(ctx context.Context, run uint64) []string {
	answer := make(chan []string, 1)
	c.mu.Lock()
	c.waiting[run] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.waiting, run)
	}()

	if err := send(c.conn, request{Tail: &run}); err != nil {
		return nil
	}
	select {
	case lines := <-answer:
		return lines
	case <-c.gone:
	case <-ctx.Done():
	}
	return nil
}

// Close lets go of the reading process, which ends when the last writer is
// gone.
func (c *Client) Close() error {
	err := c.conn.Close()
	<-c.gone
	return err
}
