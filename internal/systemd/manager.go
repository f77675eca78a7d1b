package systemd

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

const socketVariable = "NOTIFY_SOCKET"

// Manager is the service manager that started this process. The zero value and
// nil stand for none. Its methods may be called from any goroutine.
type Manager struct {
	// Logger gets the one warning about messages that can't be delivered; nil
	// for [slog.Default]. It is set before the first message.
	Logger *slog.Logger

	address   string // of its socket; "" for none
	timeout   time.Duration
	listeners []*os.File

	mu       sync.Mutex
	waiting  []string
	sending  chan struct{} // closed when nothing is left to send; nil: nothing is
	reported bool
}

// FromEnvironment reads NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID, LISTEN_FDS,
// LISTEN_PID and LISTEN_FDNAMES, and removes them. It is called once, before
// other descriptors are opened and processes started.
//
// With an error there is a Manager too, which knows what could be read: what
// is wrong is worth a warning, not the end.
func FromEnvironment() (*Manager, error) {
	address := os.Getenv(socketVariable)
	// Unsetenv can't fail with a name like these.
	_ = os.Unsetenv(socketVariable)
	m := &Manager{listeners: activation.Files(true)}

	var problems []error
	if err := checkAddress(address); err != nil {
		problems = append(problems, err)
	} else {
		m.address = address
	}
	timeout, err := daemon.SdWatchdogEnabled(true)
	if err != nil {
		problems = append(problems, fmt.Errorf("the service manager's watchdog is not served: %w", err))
	}
	m.timeout = timeout
	return m, errors.Join(problems...)
}

// checkAddress takes what a unix socket can have: a path, or @ and a name that
// is in no folder.
func checkAddress(address string) error {
	if address == "" || len(address) > 1 && strings.ContainsAny(address[:1], "/@") {
		return nil
	}
	return fmt.Errorf("nothing is told to the service manager: %s=%s is no path and no abstract socket", socketVariable, address)
}

// Ready says that the app serves, with a line for `systemctl status`.
func (m *Manager) Ready(status string) { m.send(daemon.SdNotifyReady, statusLine(status)) }

// Status sets the line that `systemctl status` shows.
func (m *Manager) Status(text string) { m.send(statusLine(text)) }

// Reloading says that a reload begins. [Manager.Reloaded] must follow.
func (m *Manager) Reloading() {
	// The manager takes the time for proof that this reload isn't an older one.
	m.send(daemon.SdNotifyReloading, fmt.Sprintf("MONOTONIC_USEC=%d", monotonic().Microseconds()))
}

// Reloaded says that the reload is over, whether or not it went well; the
// status says which.
func (m *Manager) Reloaded(status string) { m.Ready(status) }

// Stopping says that the end has begun.
func (m *Manager) Stopping(status string) { m.send(daemon.SdNotifyStopping, statusLine(status)) }

// MainPID says that another process is the main one from now on. The manager
// must hear it from the present one.
func (m *Manager) MainPID(pid int) { m.send(fmt.Sprintf("MAINPID=%d", pid)) }

// Extend asks for more time in a start, reload or stop that takes longer than
// the unit says: this long from now.
func (m *Manager) Extend(by time.Duration) {
	m.send(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", by.Microseconds()))
}

// Watchdog returns how often [Manager.Alive] has to be called: half of the time
// after which the manager kills this process; 0 if it doesn't watch.
func (m *Manager) Watchdog() time.Duration {
	if m == nil || m.address == "" {
		return 0
	}
	return m.timeout / 2
}

// Alive says that this process isn't stuck.
func (m *Manager) Alive() { m.send(daemon.SdNotifyWatchdog) }

// Close waits until everything is sent, for a second at most. The Manager can
// be used on.
func (m *Manager) Close() {
	if m == nil {
		return
	}
	m.mu.Lock()
	sending := m.sending
	m.mu.Unlock()
	if sending == nil {
		return
	}
	select {
	case <-sending:
	case <-time.After(closeTimeout):
	}
}

// statusLine makes one line of any text: a second one would be a message.
func statusLine(text string) string {
	return "STATUS=" + strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' || r == 0 }), " ")
}

func monotonic() time.Duration {
	var now unix.Timespec
	// It can't fail on Linux.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return time.Duration(now.Nano())
}

func (m *Manager) report(err error) {
	if m.reported {
		return
	}
	m.reported = true
	logger := m.Logger
	if logger == nil {
		logger = slog.Default()
	}
	logger.Warn(fmt.Sprintf("the service manager can't be told how the app is: %v; this is said once", err))
}
