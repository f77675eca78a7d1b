package worker

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A listener that is shut and listens again, as when its queue is given to
// others, goes on.
func TestAcceptsAfterARescue(t *testing.T) {
	some, err := net.Listen("tcp", "127.0.0.1:0") // a port that the kernel chose for l itself it would give up
	if err != nil {
		t.Fatal(err)
	}
	some.Close()
	l, err := Listen(t.Context(), "tcp", some.Addr().String(), WithSocket(""))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan error)
	go func() {
		for {
			conn, err := l.Accept()
			if err == nil {
				conn.Close()
			}
			accepted <- err
			if err != nil {
				return
			}
		}
	}()
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		time.Sleep(time.Millisecond) // it waits in accept
		if err := raw.Control(func(fd uintptr) {
			if err := unix.Shutdown(int(fd), unix.SHUT_RDWR); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Millisecond) // longer than it ever takes
			if err := unix.Listen(int(fd), 100); err != nil {
				t.Error(err)
			}
		}); err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := <-accepted; err != nil {
			t.Fatalf("accept: %v", err)
		}
		conn.Close()
	}
	l.Close()
	if err := <-accepted; err == nil {
		t.Error("it accepts after Close")
	}
}
