package contender

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Who Upgrades says first who it is, and then whatever it hears.
func TestStreams(t *testing.T) {
	for _, name := range []string{"go-shared", "go-master-least", "sockdist-go-worker"} {
		t.Run(name, func(t *testing.T) {
			f := start(t, name, newSetup(t, 1))
			conn, err := net.Dial("tcp", f.Address.String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience))
			// The first bytes may come along with the request.
			fmt.Fprint(conn, "GET /stream HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: bench\r\n\r\none")
			from := bufio.NewReader(conn)
			response, err := http.ReadResponse(from, nil)
			if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
				t.Fatal(response, err)
			}
			line, _ := from.ReadString('\n')
			pid, _ := strconv.Atoi(strings.TrimSpace(line))
			if workers := awaitWorkers(t, f, 1); !slices.Contains(workers, pid) {
				t.Errorf("%q, of %v", line, workers)
			}
			fmt.Fprint(conn, "two")
			echo := make([]byte, 6)
			if _, err := io.ReadFull(from, echo); err != nil || string(echo) != "onetwo" {
				t.Errorf("echo %q, %v", echo, err)
			}
		})
	}
}

func slow(t *testing.T, f *Fleet) {
	t.Helper()
	for _, pid := range awaitWorkers(t, f, 1) {
		if err := unix.Kill(pid, unix.SIGUSR2); err != nil {
			t.Fatal(err)
		}
	}
}

// workFor asks for 20 ms of work; others on this machine may take some more.
func workFor(t *testing.T, f *Fleet) time.Duration {
	t.Helper()
	began := time.Now()
	if _, err := Ask(f.Address, "/work?us=20000"); err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}
