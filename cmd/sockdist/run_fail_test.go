package main_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/internal/servers"
)

func TestRunWorkersThatNeverStart(t *testing.T) {
	t.Parallel()
	a := flags("-n 2").start(t, "worker", "-fail")
	if code := a.exit(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	last := lastError(t, a)
	for _, want := range []string{"the workers don't start", "exited with status 1", "reading the configuration", "no configuration: giving up"} {
		if !strings.Contains(last, want) {
			t.Errorf("the error doesn't say %q:\n%s", want, last)
		}
	}
}

// lastError is what follows the last "sockdist:" at the start of a line.
func lastError(t testing.TB, a *app) string {
	t.Helper()
	text := "\n" + read(a.log)
	at := strings.LastIndex(text, "\nsockdist: ")
	if at < 0 {
		t.Fatalf("no error in what it said:%s", text)
	}
	return text[at+1:]
}

func TestRunWrongCommandLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		flags, command string
		code           int
		says           string
	}{
		{"", "no-such-program", 1, "no-such-program"},
		{"", "/etc/passwd", 1, "permission denied"},
		{"", "/tmp", 1, "/tmp"},
		{"-n 0", "sleep", 2, "-n 0"},
		{"-n 257", "sleep", 2, "-n 257"},
		{"-n x", "sleep", 2, "-n x"},
		{"--port 65536", "sleep", 2, "--port 65536"},
		{"--policy fair", "sleep", 2, "fair"},
		{"--name a/b", "sleep", 2, "a/b"},
		{"--log xml", "sleep", 2, "xml"},
		{"--grace -1s", "sleep", 2, "--grace"},
		{"--env X", "sleep", 2, "NAME=VALUE"},
		{"--ready-timeout 0s", "sleep", 2, "--ready-timeout"},
		{"--hang-after -1s", "sleep", 2, "--hang-after"},
		{"--hang-grace 0s", "sleep", 2, "--hang-grace"},
		{"--on-hang kill", "sleep", 2, "--on-hang kill: must be restart, eject or ignore"},
		{"--memory-max much", "sleep", 2, "--memory-max much"},
		{"--user no-such-user", "sleep", 1, "no-such-user"},
		{"--fast", "sleep", 2, "--fast"},
	} {
		a := flags(c.flags).start(t, c.command)
		if code := a.exit(); code != c.code {
			t.Errorf("%s -- %s: exit code %d, want %d", c.flags, c.command, code, c.code)
		}
		if text := lastError(t, a); !strings.Contains(text, c.says) || strings.Count(text, "\n") != 1 {
			t.Errorf("%s -- %s: says %q, want one line with %q", c.flags, c.command, text, c.says)
		}
	}
}

// A port on which somebody else listens, with and without SO_REUSEPORT, is an
// error before any worker serves: not one connection of the stranger's goes to
// a worker.
func TestRunStranger(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	for _, shares := range []bool{false, true} {
		for _, named := range []bool{false, true} {
			for _, where := range []string{"", "127.0.0.1"} {
				t.Run(fmt.Sprintf("shares=%v,--port=%v,at=%s", shares, named, where), func(t *testing.T) {
					t.Parallel()
					meetStranger(t, shares, named, where)
				})
			}
		}
	}
}

func meetStranger(t *testing.T, shares, named bool, where string) {
	port := servers.FreePort(t, nil)
	startStranger(t, shares, fmt.Sprintf("%s:%d", where, port))
	load := startTraffic(t, clients.Client{}, local(port))

	s := flags("-n 2")
	if named {
		s = flags(fmt.Sprint("-n 2 --port ", port))
	}
	a := s.start(t, "worker", "-listen", fmt.Sprint(":", port))
	if code := a.exit(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	text := lastError(t, a)
	wants := []string{fmt.Sprint(":", port), "taken by", fmt.Sprintf("(pid %d)", os.Getpid())}
	if !shares && !named && where != "" {
		// The kernel refused the workers' wider address, and they say so themselves.
		wants = []string{"the workers don't start", fmt.Sprint(":", port), "address already in use"}
	}
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("the error doesn't say %q:\n%s", want, text)
		}
	}
	if strings.Contains(read(a.log), "listening on") {
		t.Error("workers served")
	}
	load.expectAnswered()
	if pids := load.ledger.PIDs(); len(pids) != 1 || pids[os.Getpid()] == 0 {
		t.Errorf("answers by process: %v, want only the stranger's, %d", pids, os.Getpid())
	}
}

// startStranger serves in this process.
func startStranger(t testing.TB, shares bool, address string) {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if !shares {
			return nil
		}
		_ = c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		return err
	}}
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, os.Getpid())
	})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Close()
		<-ended
	})
}

// A stranger who comes later does no harm: connections go on to the workers.
func TestRunLateStranger(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	port := servers.FreePort(t, nil)
	a := flags("-n 2").start(t, "worker", "-listen", fmt.Sprint(":", port)).serves(port, 2)
	startStranger(t, true, fmt.Sprint(":", port))
	held := clients.Hold(t, local(port), 40)
	a.expectEven(port, held)
}

func TestRunNameIsTaken(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	port := servers.FreePort(t, nil)
	a := flags("-n 2").start(t, "worker", "-listen", fmt.Sprint(":", port)).serves(port, 2)
	second := setup{again: a}.start(t, "worker", "-listen", fmt.Sprint(":", servers.FreePort(t, nil)))
	if code := second.exit(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if text := lastError(t, second); !strings.Contains(text, a.name) || !strings.Contains(text, "take another name") {
		t.Errorf("the error is no help: %s", text)
	}
	a.expectEven(port, clients.Hold(t, local(port), 40))
}

// Without a privilege it says which, and what to do.
func TestRunNeedsPrivileges(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	setpriv := privilege.Tool(t, "setpriv")
	for _, c := range []struct {
		flags string
		lacks string
	}{
		{"--reuid 65534 --clear-groups", "CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN, CAP_SYS_PTRACE, CAP_DAC_OVERRIDE"},
		{"--bounding-set -sys_ptrace --inh-caps -sys_ptrace", "CAP_SYS_PTRACE"},
		{"--bounding-set -bpf,-net_admin,-sys_admin --inh-caps -bpf,-net_admin,-sys_admin", "CAP_BPF, CAP_NET_ADMIN"},
	} {
		a := setup{under: append([]string{setpriv}, strings.Fields(c.flags)...)}.start(t, "worker")
		if code := a.exit(); code != 3 {
			t.Errorf("%s: exit code %d, want 3", c.flags, code)
		}
		if text := lastError(t, a); !strings.Contains(text, "missing "+c.lacks+";") || !strings.Contains(text, "as root") {
			t.Errorf("%s: says %q, want it to name %s", c.flags, text, c.lacks)
		}
	}
}
