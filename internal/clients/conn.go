package clients

import (
	"bufio"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/netns"
)

// Client says how to connect and what to ask. The zero Client speaks [HTTP]
// from the namespace of the test.
type Client struct {
	// Ask is the protocol; nil: HTTP.
	Ask Protocol
	// In is the namespace to connect from; nil: the one that the process is in.
	In *netns.Namespace
	// Timeout bounds the connecting, and each question with its answer; 0: 10 s.
	Timeout time.Duration
}

const defaultTimeout = 10 * time.Second

func (c Client) timeout() time.Duration {
	if c.Timeout == 0 {
		return defaultTimeout
	}
	return c.Timeout
}

func (c Client) protocol() Protocol {
	if c.Ask == nil {
		return HTTP
	}
	return c.Ask
}

// Conn is an open connection to a server. It is for one goroutine at a time.
type Conn struct {
	// Local is the client's end: what the server sees as its peer.
	Local netip.AddrPort
	// Answer is the last answer that came over it.
	Answer Answer

	client Client
	file   *os.File
	reader *bufio.Reader
}

// open connects, and asks nothing yet. The Conn has its local end even when
// there is an error.
func (c Client) open(server netip.AddrPort) (*Conn, error) {
	file, local, err := connect(c.In, server, c.timeout())
	if err != nil {
		return &Conn{Local: local}, err
	}
	return &Conn{Local: local, client: c, file: file, reader: bufio.NewReader(file)}, nil
}

// Ask puts one question to the server and returns its answer. An error says
// that the connection is of no more use.
func (c *Conn) Ask() (Answer, error) {
	if err := c.file.SetDeadline(time.Now().Add(c.client.timeout())); err != nil {
		return Answer{}, err
	}
	answer, err := c.client.protocol()(c.file, c.reader)
	if err != nil {
		return Answer{}, err
	}
	c.Answer = answer
	return answer, nil
}

// Close ends the connection in good order, with a FIN. It does nothing to one
// that is closed.
func (c *Conn) Close() {
	c.file.Close()
}

// Reset ends the connection with a RST. It does nothing to one that is closed.
func (c *Conn) Reset() {
	raw, err := c.file.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	})
	c.file.Close()
}
