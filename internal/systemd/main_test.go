package systemd

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// asService makes the test program play a service that was started with
// sockets.
const asService = "SYSTEMD_TEST_SERVICE"

func TestMain(m *testing.M) {
	if os.Getenv(asService) != "" {
		service()
		return
	}
	if address := os.Getenv(asWorker); address != "" {
		bindAsWorker(address)
		return
	}
	goleak.VerifyTestMain(m)
}

// manager is the receiving end of the protocol, as the service manager has it.
type manager struct {
	t       *testing.T
	address string
	conn    *net.UnixConn
}

func listen(t *testing.T, address string) *manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &manager{t: t, address: address, conn: conn}
}

// addresses are one of each kind that systemd uses.
func addresses(t *testing.T) map[string]string {
	return map[string]string{
		"path":     filepath.Join(t.TempDir(), "notify"),
		"abstract": fmt.Sprintf("@sockdist-test-%d-%s", os.Getpid(), strings.ReplaceAll(t.Name(), "/", "-")),
	}
}

func (m *manager) receive() string {
	m.t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		m.t.Fatal(err)
	}
	buffer := make([]byte, 4096)
	n, err := m.conn.Read(buffer)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(buffer[:n])
}

func (m *manager) expect(want string) {
	m.t.Helper()
	if got := m.receive(); got != want {
		m.t.Errorf("the manager was told %q, want %q", got, want)
	}
}

// fromEnvironment is FromEnvironment with these variables, which must not be
// there any more afterwards.
func fromEnvironment(t *testing.T, variables map[string]string) (*Manager, error) {
	t.Helper()
	all := []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"}
	for _, name := range all {
		t.Setenv(name, variables[name]) // so that it is as before when t ends
		if variables[name] == "" {
			os.Unsetenv(name)
		}
	}
	m, err := FromEnvironment()
	for _, name := range all {
		if value, set := os.LookupEnv(name); set {
			t.Errorf("%s=%s is left for workers to find", name, value)
		}
	}
	t.Cleanup(m.Close)
	return m, err
}

func newManager(t *testing.T, address string) *Manager {
	t.Helper()
	m, err := fromEnvironment(t, map[string]string{"NOTIFY_SOCKET": address})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// service prints what it was given, for startService.
func service() {
	m, err := FromEnvironment()
	if err != nil {
		fmt.Println("error:", err)
	}
	for _, listener := range m.Listeners() {
		flags, err := unix.FcntlInt(listener.File.Fd(), unix.F_GETFD, 0)
		if err != nil {
			fmt.Println("error:", err)
		}
		connection, err := net.FileListener(listener.File)
		if err != nil {
			fmt.Println("error:", err)
			continue
		}
		fmt.Println(listener.Name, connection.Addr(), "close-on-exec", flags&unix.FD_CLOEXEC != 0)
	}
	m.Ready("served")
	m.Close()
	for _, variable := range os.Environ() {
		if strings.HasPrefix(variable, "LISTEN_") {
			fmt.Println("left:", variable)
		}
	}
}

// startService runs the test program as the manager does: LISTEN_PID has to be
// the number of the process itself, which only a shell in between can set.
func startService(t *testing.T, files []*os.File, pid string, variables ...string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command("/bin/sh", "-c", `export LISTEN_PID=`+pid+`; exec "$0"`, self)
	command.ExtraFiles = files
	command.Env = append(os.Environ(), asService+"=1", "LISTEN_FDS="+strconv.Itoa(len(files)))
	command.Env = append(command.Env, variables...)
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return string(output)
}

func logger(buffer *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(buffer, nil))
}
