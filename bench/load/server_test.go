package load

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"testing"
)

// serve has handle deal with each connection, and ends when the test does.
func serve(t *testing.T, handle func(net.Conn)) netip.AddrPort {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				handle(conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		all.Wait()
	})
	return listener.Addr().(*net.TCPAddr).AddrPort()
}

// says reads a request, and gives that for an answer, in pieces.
func says(pieces ...string) func(net.Conn) {
	return func(conn net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
			return
		}
		for _, piece := range pieces {
			_, _ = conn.Write([]byte(piece))
		}
	}
}

// ok is what a worker says.
func ok() string {
	body := fmt.Sprintf("%d\n", os.Getpid())
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nServer: test\r\ncontent-length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
}
