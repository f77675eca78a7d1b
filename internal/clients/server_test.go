package clients_test

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
)

// serve answers each connection of a new listener with f, until t ends. The
// connection is closed when f returns.
func serve(t *testing.T, network string, f func(net.Conn)) netip.AddrPort {
	t.Helper()

	address := "127.0.0.1:0"
	if network == "tcp6" {
		address = "[::1]:0"
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, listener, f)
	return listener.Addr().(*net.TCPAddr).AddrPort()
}

func serveOn(t *testing.T, listener net.Listener, f func(net.Conn)) {
	var mu sync.Mutex
	var open []net.Conn
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			running.Go(func() {
				defer conn.Close()
				f(conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		mu.Lock()
		for _, conn := range open {
			conn.Close()
		}
		mu.Unlock()
		running.Wait()
	})
}

// answering returns a server's side that gives each HTTP request the next of
// the bodies, and the last one from then on.
func answering(bodies ...string) func(net.Conn) {
	return func(conn net.Conn) {
		r := bufio.NewReader(conn)
		for i := 0; answer(conn, r, bodies[min(i, len(bodies)-1)]); i++ {
		}
	}
}

// answer answers the next HTTP request, and is false at the end.
func answer(conn net.Conn, r *bufio.Reader, body string) bool {
	if !readRequest(r) {
		return false
	}
	fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	return true
}

// saying returns a server's side that answers one HTTP request with text, as it
// is, and closes.
func saying(text string) func(net.Conn) {
	return func(conn net.Conn) {
		if readRequest(bufio.NewReader(conn)) {
			fmt.Fprint(conn, text)
		}
	}
}

// readRequest reads an HTTP request without a body, and is false at the end.
func readRequest(r *bufio.Reader) bool {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return false
		}
		if line == "\r\n" {
			return true
		}
	}
}

// echoing returns a server's side that sends each line back behind a prefix.
func echoing(prefix string) func(net.Conn) {
	return func(conn net.Conn) {
		r := bufio.NewReader(conn)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			fmt.Fprint(conn, prefix+line)
		}
	}
}

// resetting is a server's side that resets the connection at its first line.
func resetting(conn net.Conn) {
	bufio.NewReader(conn).ReadString('\n')
	conn.(*net.TCPConn).SetLinger(0)
}

// silent is a server's side that reads and never answers.
func silent(conn net.Conn) {
	for {
		if _, err := conn.Read(make([]byte, 512)); err != nil {
			return
		}
	}
}

// unused returns an address where nobody listens.
func unused(t *testing.T) netip.AddrPort {
	t.Helper()

	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).AddrPort()
}
