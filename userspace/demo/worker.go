package demo

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Descriptors of a worker, after the standard ones.
const (
	lifelineFD = 3 // closes with the parent
	firstFD    = 4 // its listener on each side
)

// Worker is the whole life of a worker process: it serves the listeners that it
// inherited, answers its number, and ends with its parent, however that ends.
func Worker(number int, service time.Duration) error {
	for side := range sides {
		file := os.NewFile(uintptr(firstFD+side), "listener")
		listener, err := net.FileListener(file)
		file.Close()
		if err != nil {
			return fmt.Errorf("descriptor %d is no listener: %w", firstFD+side, err)
		}
		go serve(listener, number, service)
	}
	lifeline := os.NewFile(lifelineFD, "lifeline")
	_, _ = lifeline.Read(make([]byte, 1))
	return nil
}

// serve answers one connection after the other.
func serve(listener net.Listener, number int, service time.Duration) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		time.Sleep(time.Duration(rand.ExpFloat64() * float64(service)))
		_, _ = fmt.Fprintln(conn, number)
		conn.Close()
	}
}

// ask opens one connection and waits for the whole answer: which worker it was.
func ask(ctx context.Context, address string) (worker int, err error) {
	var dialer net.Dialer
	dialer.SetMultipathTCP(false)
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	answer, err := io.ReadAll(io.LimitReader(conn, 16))
	if err != nil {
		return 0, err
	}
	worker, err = strconv.Atoi(strings.TrimSpace(string(answer)))
	if err != nil || worker < 0 || worker >= MaxWorkers {
		return 0, fmt.Errorf("answer %q: no worker's number", answer)
	}
	return worker, nil
}
