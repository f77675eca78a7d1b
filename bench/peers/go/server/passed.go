package main

import (
	"errors"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/bench/peers/go/app"
)

// errNoMaster says that no more connections come: the master has ended, or
// wants this worker to.
var errNoMaster = errors.New("the master hung up")

// passed is where connections come as descriptors, each with a byte.
type passed struct {
	fd   int
	tell bool // the master when one ends
}

func newPassed(fd int, tell bool) *passed {
	unix.CloseOnExec(fd)
	_, _ = unix.Write(fd, []byte{ready})
	return &passed{fd, tell}
}

// What a worker says to its master.
const (
	ready = 'r'
	ended = 'e'
)

// next waits as long as it takes: what ends it is the master's end.
func (p *passed) next() (int, error) {
	space := make([]byte, unix.CmsgSpace(4))
	n, oob, _, _, err := unix.Recvmsg(p.fd, make([]byte, 1), space, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, errNoMaster
	}
	return descriptor(space[:oob])
}

func descriptor(control []byte) (int, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil || len(messages) != 1 {
		return 0, errors.Join(err, errors.New("a message of the master's without a descriptor"))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return 0, errors.Join(err, errors.New("a message of the master's with other than one descriptor"))
	}
	return fds[0], nil
}

func (p *passed) ended() {
	if p.tell {
		_, _ = unix.Write(p.fd, []byte{ended})
	}
}

// servePassed serves what comes with net/http, until nothing comes any more.
func servePassed(work *app.Work, from *passed) error {
	c, err := newChannel(from)
	if err != nil {
		return err
	}
	return untilTold(newServer(work), c)
}

// A channel is a source as a net.Listener.
type channel struct {
	*passed
	file *os.File
	wait func(func(fd uintptr) (done bool)) error // until it can be read
}

func newChannel(from *passed) (*channel, error) {
	if err := unix.SetNonblock(from.fd, true); err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(from.fd), "control")
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &channel{passed: from, file: file, wait: raw.Read}, nil
}

func (c *channel) Accept() (net.Conn, error) {
	var fd int
	var failed error
	err := c.wait(func(uintptr) bool {
		fd, failed = c.next()
		return failed != unix.EAGAIN
	})
	if err = errors.Join(err, failed); err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "connection")
	defer file.Close()
	conn, err := net.FileConn(file) // a duplicate, without a delay, and non-blocking
	if err != nil {
		return nil, err
	}
	if !c.tell {
		return conn, nil
	}
	return &told{Conn: conn, end: sync.OnceFunc(c.ended)}, nil
}

// Close has the master pass no more; what it passed before still comes, and
// ends are still told.
func (c *channel) Close() error { return unix.Shutdown(c.fd, unix.SHUT_RD) }

func (c *channel) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: "control"} }

// told is a connection whose end is told.
type told struct {
	net.Conn
	end func()
}

func (t *told) Close() error {
	defer t.end()
	return t.Conn.Close()
}
