package main

import (
	"errors"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// What is passed is served, its end is told once, and the master's end is the last word.
func TestChannel(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	master := pair[0]
	from := newPassed(pair[1], true)
	c, err := newChannel(from)
	if err != nil {
		t.Fatal(err)
	}
	if said := hear(t, master); said != ready {
		t.Fatalf("at first it says %q", said)
	}
	ours, theirs := connection(t)
	if err := unix.Sendmsg(master, []byte{'c'}, unix.UnixRights(theirs), nil, 0); err != nil {
		t.Fatal(err)
	}
	unix.Close(theirs)
	conn, err := c.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if n, err := ours.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	conn.Close()
	conn.Close()
	if said := hear(t, master); said != ended {
		t.Errorf("it says %q at the end", said)
	}
	if n, _, err := unix.Recvfrom(master, make([]byte, 1), unix.MSG_DONTWAIT); err != unix.EAGAIN {
		t.Errorf("it says more: %d, %v", n, err)
	}
	unix.Close(master)
	if _, err := c.Accept(); !errors.Is(err, errNoMaster) {
		t.Errorf("without a master: %v", err)
	}
}

func hear(t *testing.T, master int) byte {
	t.Helper()
	said := make([]byte, 1)
	if n, err := unix.Read(master, said); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	return said[0]
}

// connection is one of TCP, of which the other end is a descriptor.
func connection(t *testing.T) (ours net.Conn, theirs int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if ours, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	file, err := conn.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if theirs, err = unix.Dup(int(file.Fd())); err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}
