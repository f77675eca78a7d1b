package systemd

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMessages(t *testing.T) {
	for kind, address := range addresses(t) {
		t.Run(kind, func(t *testing.T) {
			there := listen(t, address)
			m := newManager(t, address)

			m.Status("starting 4 workers")
			m.Ready("4 workers on [::]:3000")
			m.Alive()
			m.MainPID(17)
			m.Extend(3 * time.Second)
			m.Reloaded("again")
			m.Stopping("waiting for 3 connections")

			for _, want := range []string{
				"STATUS=starting 4 workers",
				"READY=1\nSTATUS=4 workers on [::]:3000",
				"WATCHDOG=1",
				"MAINPID=17",
				"EXTEND_TIMEOUT_USEC=3000000",
				"READY=1\nSTATUS=again",
				"STOPPING=1\nSTATUS=waiting for 3 connections",
			} {
				there.expect(want)
			}
		})
	}
}

// notify-reload wants the time of the reload on the clock that doesn't jump.
func TestReloadingHasTheTime(t *testing.T) {
	there := listen(t, addresses(t)["path"])
	m := newManager(t, there.address)

	before := monotonic().Microseconds()
	m.Reloading()
	var got int64
	if _, err := fmt.Sscanf(there.receive(), "RELOADING=1\nMONOTONIC_USEC=%d", &got); err != nil {
		t.Fatal(err)
	}
	if after := monotonic().Microseconds(); got < before || got > after {
		t.Errorf("the reload is said to have begun at %d µs, it was between %d and %d", got, before, after)
	}
}

// A worker's last words may be anything; they must not become messages.
func TestStatusIsOneLine(t *testing.T) {
	there := listen(t, addresses(t)["path"])
	m := newManager(t, there.address)
	m.Status("failed:\nREADY=1\r\nMAINPID=1\x00")
	there.expect("STATUS=failed: READY=1 MAINPID=1")
}

func TestNoManager(t *testing.T) {
	none, err := fromEnvironment(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*Manager{nil, {}, none} {
		m.Ready("")
		m.Status("")
		m.Reloading()
		m.Reloaded("")
		m.Stopping("")
		m.MainPID(1)
		m.Extend(time.Second)
		m.Alive()
		if every := m.Watchdog(); every != 0 {
			t.Errorf("the watchdog of nobody wants to be fed every %v", every)
		}
		if got := m.Listeners(); len(got) != 0 {
			t.Errorf("%d sockets came from nobody", len(got))
		}
		m.Close()
	}
}

// A manager that reads nothing, and then is gone, holds nobody up.
func TestDeafManager(t *testing.T) {
	there := listen(t, addresses(t)["path"])
	m := newManager(t, there.address)
	var log bytes.Buffer
	m.Logger = logger(&log)

	for range 10_000 { // more than any queue of the kernel and ours
		m.Alive()
	}
	there.conn.Close()
	m.Alive()
	m.delivered()
	if lines := strings.Count(log.String(), "\n"); lines != 1 {
		t.Errorf("want one line in the log, got %d:\n%s", lines, log.String())
	}
}

// delivered waits for as long as it takes, which Close doesn't.
func (m *Manager) delivered() {
	m.mu.Lock()
	sending := m.sending
	m.mu.Unlock()
	if sending != nil {
		<-sending
	}
}

// Messages reach a manager that was itself replaced.
func TestManagerRestarts(t *testing.T) {
	address := filepath.Join(t.TempDir(), "notify")
	there := listen(t, address)
	m := newManager(t, address)
	m.Status("one")
	there.expect("STATUS=one")

	there.conn.Close()
	if err := os.Remove(address); err != nil {
		t.Fatal(err)
	}
	there = listen(t, address)
	m.Status("two")
	there.expect("STATUS=two")
}

func TestWatchdog(t *testing.T) {
	there := listen(t, addresses(t)["path"])
	own, other := fmt.Sprint(os.Getpid()), fmt.Sprint(os.Getpid()+1)
	for _, c := range []struct {
		usec, pid string
		every     time.Duration
		fails     bool
	}{
		{usec: "", every: 0},
		{usec: "20000000", every: 10 * time.Second},
		{usec: "20000000", pid: own, every: 10 * time.Second},
		{usec: "20000000", pid: other, every: 0},
		{usec: "soon", fails: true},
		{usec: "-5", fails: true},
		{usec: "20000000", pid: "me", fails: true},
	} {
		m, err := fromEnvironment(t, map[string]string{
			"NOTIFY_SOCKET": there.address, "WATCHDOG_USEC": c.usec, "WATCHDOG_PID": c.pid,
		})
		if (err != nil) != c.fails {
			t.Errorf("WATCHDOG_USEC=%s WATCHDOG_PID=%s: error %v", c.usec, c.pid, err)
		}
		if got := m.Watchdog(); got != c.every {
			t.Errorf("WATCHDOG_USEC=%s WATCHDOG_PID=%s: every %v, want %v", c.usec, c.pid, got, c.every)
		}
		m.Status("all the same")
		there.expect("STATUS=all the same")
	}
}

func TestAddressOfNoKind(t *testing.T) {
	for _, address := range []string{"vsock:2:1234", "notify", "@", "/"} {
		m, err := fromEnvironment(t, map[string]string{"NOTIFY_SOCKET": address})
		if err == nil || !strings.Contains(err.Error(), address) {
			t.Errorf("NOTIFY_SOCKET=%s: error %v", address, err)
		}
		m.Ready("") // to nobody
	}
}

func TestListeners(t *testing.T) {
	var files []*os.File
	var want []string
	for _, name := range []string{"web.socket", "admin"} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		file, err := listener.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		files = append(files, file)
		want = append(want, fmt.Sprintf("%s %v close-on-exec true\n", name, listener.Addr()))
	}
	there := listen(t, addresses(t)["path"])
	notify := "NOTIFY_SOCKET=" + there.address

	if got := startService(t, files, "$$", "LISTEN_FDNAMES=web.socket:admin", notify); got != strings.Join(want, "") {
		t.Errorf("with sockets, the service says\n%swant\n%s", got, strings.Join(want, ""))
	}
	there.expect("READY=1\nSTATUS=served")

	// Those of another process are left alone.
	if got := startService(t, files, "1", "LISTEN_FDNAMES=web.socket:admin", notify); got != "" {
		t.Errorf("with sockets of process 1, the service says\n%s", got)
	}
	there.expect("READY=1\nSTATUS=served")
}
