package contender

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// ready waits until the fleet has all its workers and answers, and hands it
// over; else it ends it.
func (s *Setup) ready(ctx context.Context, address netip.AddrPort) (*Fleet, error) {
	f := s.begun()
	f.Address = address
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := f.await(ctx, s.Workers); err != nil {
		return s.fail(err)
	}
	return f, nil
}

// await waits for n workers and an answer.
func (f *Fleet) await(ctx context.Context, n int) error {
	var last error
	for ctx.Err() == nil {
		if err := f.Alive(); err != nil {
			return err
		}
		pids, err := f.Workers()
		if err == nil && len(pids) < n {
			err = fmt.Errorf("%d of %d workers run", len(pids), n)
		}
		if err == nil {
			_, err = Ask(f.Address, "/")
		}
		if err == nil {
			return nil
		}
		last = err
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("it doesn't answer at %s: %w (%w)", f.Address, last, ctx.Err())
}

// Ask makes one request over a connection of its own, and tells who answered.
func Ask(server netip.AddrPort, path string) (pid int, err error) {
	conn, err := net.DialTimeout("tcp", server.String(), patience)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n", path); err != nil {
		return 0, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %s", path, response.Status)
	}
	return strconv.Atoi(strings.TrimSpace(string(body)))
}
