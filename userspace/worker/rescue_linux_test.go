package worker

import (
	"fmt"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/servers"
)

// A listener that is shut and listens again, as when its queue is given to
// others, goes on.
func TestAcceptsAfterARescue(t *testing.T) {
	// A port that the kernel chose for l itself it would give up.
	l, err := Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", servers.FreePort(t, nil)), WithSocket(""))
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
	for n := range 50 {
		deaf := time.Millisecond // longer than it ever takes
		if n == 0 {
			deaf = 500 * time.Millisecond // but for a daemon that was kept from its CPU just then
		}
		time.Sleep(time.Millisecond) // it waits in accept
		if err := raw.Control(func(fd uintptr) {
			if err := unix.Shutdown(int(fd), unix.SHUT_RDWR); err != nil {
				t.Error(err)
			}
			time.Sleep(deaf)
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
