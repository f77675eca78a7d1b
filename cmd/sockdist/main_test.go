package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// These in the environment make the test binary another program.
const (
	asSockdist = "SOCKDIST_TEST_AS_SOCKDIST"
	asSleeper  = "SOCKDIST_TEST_AS_SLEEPER" // waits until it is killed, or the test that started it ends
)

func TestMain(m *testing.M) {
	if os.Getenv(asSockdist) != "" {
		main()
	}
	if os.Getenv(asSleeper) != "" {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	testscript.Main(leakChecked{m}, map[string]func(){"sockdist": main})
}

type leakChecked struct{ *testing.M }

func (m leakChecked) Run() int {
	code := m.M.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "goroutines left:", err)
		return 1
	}
	return code
}

// noSleep, as GORACE, makes a race-checked process end at once, not after a second.
const noSleep = "atexit_sleep_ms=0"

// An answer is what a command line came to.
type answer struct {
	out, err string
	code     int
}

// sockdist runs a command line in this process.
func sockdist(t testing.TB, dir string, args ...string) answer {
	t.Helper()
	var out, errs strings.Builder
	env := environment{out: &out, err: &errs, getenv: func(name string) string {
		if name == dirVariable {
			return dir
		}
		return ""
	}}
	code := execute(t.Context(), env, args)
	return answer{out.String(), errs.String(), code}
}

// asNobody runs a command line in a process of a user without any privilege.
func asNobody(t *testing.T, dir string, args ...string) answer {
	t.Helper()
	privilege.Require(t)
	// The folder of a test binary is closed to other users, its descriptor is not.
	binary, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer binary.Close()

	var out, errs strings.Builder
	cmd := exec.CommandContext(t.Context(), "/proc/self/fd/3", args...)
	cmd.ExtraFiles = []*os.File{binary}
	cmd.Dir = "/"
	cmd.Env = []string{asSockdist + "=1", dirVariable + "=" + dir, "GORACE=" + noSleep}
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return answer{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

var testNumber atomic.Int64

// newDir is a pin folder of the test's own, which must be gone when the test ends.
func newDir(t testing.TB) string {
	t.Helper()
	privilege.Require(t)
	machine, err := loader.Open(loader.Options{})
	if err != nil {
		t.Fatal(err)
	}
	mount := filepath.Dir(filepath.Dir(machine.Dir()))
	dir := filepath.Join(mount, fmt.Sprintf("sockdist-cmd-%d-%d", os.Getpid(), testNumber.Add(1)))
	t.Cleanup(func() {
		host, err := loader.Open(loader.Options{Dir: dir})
		if err == nil {
			err = host.Remove()
		}
		if err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("pins left in %s", dir)
			os.RemoveAll(dir)
		}
	})
	return dir
}

// newGroup makes a group in dir over listeners: listener i has slot i.
func newGroup(t testing.TB, dir string, spec loader.GroupSpec, listeners ...*net.TCPListener) *loader.Group {
	t.Helper()
	host, err := loader.Open(loader.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if spec.Address == (netip.AddrPort{}) {
		spec.Address = listeners[0].Addr().(*net.TCPAddr).AddrPort()
	}
	g, err := host.CreateGroup(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Destroy(); err != nil {
			t.Error(err)
		}
		g.Close()
	})
	start, err := sockets.StartTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range listeners {
		if _, err := g.Add(i, loader.Listener{FD: fdOf(t, l), PID: os.Getpid(), Start: start}); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

func steer(t testing.TB, g *loader.Group, l *net.TCPListener) {
	t.Helper()
	if err := g.Steer(fdOf(t, l)); err != nil {
		t.Fatal(err)
	}
}

// listenShared makes n listeners that share an address, without MPTCP.
func listenShared(t testing.TB, network, address string, n int) []*net.TCPListener {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
	}}
	config.SetMultipathTCP(false)
	listeners := make([]*net.TCPListener, n)
	for i := range listeners {
		l, err := config.Listen(context.Background(), network, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		listeners[i] = l.(*net.TCPListener)
		address = l.Addr().String()
	}
	return listeners
}

func fdOf(t testing.TB, l *net.TCPListener) int {
	t.Helper()
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	fd := -1
	if err := raw.Control(func(f uintptr) { fd = int(f) }); err != nil {
		t.Fatal(err)
	}
	return fd
}

func dial(t testing.TB, l *net.TCPListener) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
