package load

import (
	"errors"
	"io"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// A client makes requests, on one thread.
type client struct {
	*poller
	server unix.Sockaddr
	family int
	spread bool
	keep   bool // connections are kept

	out []byte
	in  []byte
}

// An exchange is a request on a connection, and its answer as far as it came.
type exchange struct {
	fd      int
	service time.Duration
	sent    bool
	got     []byte
}

func newClient(server netip.AddrPort) (*client, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	family := unix.AF_INET
	if !server.Addr().Unmap().Is4() {
		family = unix.AF_INET6
	}
	return &client{poller: p, server: sockaddr(server), family: family, spread: spreads(server), in: make([]byte, maxAnswer)}, nil
}

// dial begins a connection and sends the request, if that can be done at once,
// which is so where the handshake needs no other process.
func (c *client) dial(x *exchange, token int32, service time.Duration) error {
	*x = exchange{fd: -1, service: service}
	fd, err := connect(c.server, c.family, c.spread)
	if err != nil {
		return err
	}
	x.fd = fd
	if err := c.send(x); err != nil {
		return err
	}
	events := uint32(unix.EPOLLIN | unix.EPOLLRDHUP)
	if !x.sent || c.keep {
		events |= unix.EPOLLOUT
	}
	return c.add(fd, token, events)
}

// again makes a further request on a connection that was kept.
func (c *client) again(x *exchange, service time.Duration) error {
	*x = exchange{fd: x.fd, service: service, got: x.got[:0]}
	return c.send(x)
}

// send sends the request, if the connection is there.
func (c *client) send(x *exchange) error {
	c.out = request(c.out[:0], x.service, c.keep)
	n, err := unix.SendmsgN(x.fd, c.out, nil, nil, unix.MSG_NOSIGNAL)
	if errors.Is(err, unix.EAGAIN) {
		return nil
	}
	if err != nil {
		return failure(err)
	}
	if n < len(c.out) {
		return failure(io.ErrShortWrite) // a first request always fits
	}
	x.sent = true
	return nil
}

// progress does what can be done now, and tells whether that is all.
func (c *client) progress(x *exchange) (a answer, whole bool, err error) {
	if !x.sent {
		if err := c.send(x); err != nil || !x.sent {
			return a, false, err
		}
	}
	for {
		n, err := unix.Read(x.fd, c.in)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return a, false, nil
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return a, false, failure(err)
		case n == 0:
			return a, false, ErrReset
		}
		if a, whole, err := x.took(c.in[:n]); whole || err != nil {
			return a, whole, err
		}
	}
}

// took keeps a copy only of what didn't come in one piece.
func (x *exchange) took(b []byte) (a answer, whole bool, err error) {
	if len(x.got) == 0 {
		if a, whole, err = parse(b); whole || err != nil {
			return a, whole, err
		}
	}
	x.got = append(x.got, b...)
	return parse(x.got)
}

// end closes the connection, if there is one.
func (x *exchange) end() {
	if x.fd >= 0 {
		unix.Close(x.fd)
	}
	*x = exchange{fd: -1}
}
