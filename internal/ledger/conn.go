package ledger

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// conn is a connection that is open.
type conn struct {
	*Entry
	fd int
	// serial changes with each state that has a deadline.
	serial int
	// asked is when the present question was due.
	asked Moment
	out   []byte // what is still to be sent
	in    []byte // of the present answer
	// ending: answered, and waits for the server to close.
	ending bool
	// leaves is when a held connection ends by itself; 0: not before the end.
	leaves Moment
}

// connect opens a connection that was due at a Moment, and asks. It returns nil
// if it has ended already.
func (l *loop) connect(due Moment, held bool) *conn {
	e := &Entry{Number: l.number, Held: held, Due: due, Started: Now(), Worker: Worker{Slot: Unknown}}
	fd, local, refused, err := openSocket(l.load.Server, l.from())
	if err == nil {
		err = l.watch(fd)
	}
	if err != nil {
		l.book.Unopened++
		if l.book.UnopenedErr == nil {
			l.book.UnopenedErr = err
		}
		return nil
	}
	l.number++
	l.opened.Add(1)
	l.book.Entries = append(l.book.Entries, e)
	e.Local = local
	c := &conn{Entry: e, fd: fd}
	l.open[int32(fd)] = c
	if refused {
		l.end(c, Refused, unix.ECONNREFUSED)
		return nil
	}
	l.ask(c, due)
	if l.open[int32(fd)] != c {
		return nil
	}
	return c
}

// watch asks for both directions, by edges: then no call is needed to change it.
func (l *loop) watch(fd int) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(fd)}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		unix.Close(fd)
		return fmt.Errorf("watch a connection: %w", err)
	}
	return nil
}

func (l *loop) from() netip.Addr {
	if n := uint64(len(l.load.From)); n > 0 {
		return l.load.From[l.number%n]
	}
	return netip.Addr{}
}

// ask sends the next question, as soon as the connection is open.
func (l *loop) ask(c *conn, due Moment) {
	c.asked, c.in = due, c.in[:0]
	c.out = question(l.load.Server, c.Number, c.Entry.Answered, c.Held)
	if c.Connected != 0 {
		c.Phase = Asking
	}
	c.serial++
	l.answers.add(c, Now().Add(l.load.Timeout))
	l.send(c)
}

// send is false if the connection has ended.
func (l *loop) send(c *conn) bool {
	for len(c.out) > 0 {
		n, err := unix.SendmsgN(c.fd, c.out, nil, nil, unix.MSG_NOSIGNAL)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return true
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil && c.Held && c.Connected != 0, errors.Is(err, unix.EPIPE):
			// The answer to read, if there is one, tells more.
			c.out = nil
			return true
		case err != nil:
			l.fail(c, err)
			return false
		}
		if c.Connected == 0 {
			c.Connected, c.Phase = Now(), Asking
		}
		c.out = c.out[n:]
	}
	return true
}

// proceed does what has become possible.
func (l *loop) proceed(c *conn) {
	if !l.send(c) || c.Connected == 0 {
		return
	}
	var buffer [4096]byte
	for {
		n, err := unix.Read(c.fd, buffer[:])
		switch {
		case errors.Is(err, unix.EAGAIN):
			return
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			l.fail(c, err)
			return
		case n == 0:
			l.fail(c, errEnd)
			return
		}
		if !l.take(c, buffer[:n]) {
			return
		}
	}
}

// errEnd is a FIN before the answer.
var errEnd = errors.New("the server closed the connection")

// take reads a part of an answer. It is false if the connection has ended.
func (l *loop) take(c *conn, part []byte) bool {
	if c.Phase == Idle {
		l.end(c, Wrong, fmt.Errorf("%w: %q comes after the answer", errWrong, part))
		return false
	}
	c.Phase = Answering
	c.in = append(c.in, part...)
	a, done, err := parseAnswer(c.in, c.Number, c.Entry.Answered)
	if err != nil {
		l.end(c, Wrong, err)
		return false
	}
	if done {
		l.answer(c, a)
	}
	return l.open[int32(c.fd)] == c
}

// answer takes a right answer.
func (l *loop) answer(c *conn, a answer) {
	now := Now()
	c.Worker, c.Phase, c.Ended = a.worker, Idle, now
	c.Entry.Answered++
	wait := now.Sub(c.asked)
	c.Slowest = max(c.Slowest, wait)
	c.serial++
	if !c.Held {
		c.ending = true
		l.ends.add(c, now.Add(endWithin))
		return
	}
	l.book.Waits = append(l.book.Waits, wait)
	l.exchanges.Add(1)
	if a.closes || c.leaves != 0 && c.leaves <= now || l.held.ended {
		l.end(c, Answered, nil)
		return
	}
	l.held.later(c, now)
}

// fail sorts an error of the connection itself.
func (l *loop) fail(c *conn, err error) {
	switch {
	case c.ending: // the answer was there already
		l.end(c, Answered, nil)
	case errors.Is(err, unix.ECONNREFUSED):
		l.end(c, Refused, err)
	case errors.Is(err, unix.ETIMEDOUT):
		l.end(c, TimedOut, err)
	default:
		l.end(c, ResetBeforeAccept, err)
	}
}

// end writes the connection into its column and closes it.
func (l *loop) end(c *conn, column Column, err error) {
	c.Column, c.Err = column, err
	if !c.ending {
		c.Ended = Now()
	}
	c.serial++
	delete(l.open, int32(c.fd))
	if c.Held && column == Answered {
		unix.Close(c.fd) // in good order, as a browser does
	} else {
		abort(c.fd)
	}
	if column == Answered {
		l.answered.Add(1)
	} else {
		l.lost.Add(1)
	}
	if c.Held {
		l.held.replace(Now())
	}
}
