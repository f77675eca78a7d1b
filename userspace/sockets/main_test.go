package sockets

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// The processes that these tests look at are children that run this binary in
// one of the roles below. Each lives until its standard input ends, so that
// none outlives the test.

const roleVariable = "SOCKDIST_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		if err := roles[role](os.Args[1:]); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// inherited is the first descriptor that a child gets besides the usual three.
const inherited = 3

var roles = map[string]func(args []string) error{
	"hold":   func([]string) error { return waitForEnd() },
	"poll":   poll,
	"accept": accept,
	"listen": listenRole,
	"fetch":  fetchRole,
	"seek":   seekRole,
	"serve":  serveRole,
}

// poll puts what it inherited into an epoll set.
func poll([]string) error {
	set, err := unix.EpollCreate1(0)
	if err != nil {
		return err
	}
	if err := unix.EpollCtl(set, unix.EPOLL_CTL_ADD, inherited, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
		return err
	}
	return waitForEnd()
}

// accept blocks in accept on what it inherited.
func accept([]string) error {
	if err := unix.SetNonblock(inherited, false); err != nil {
		return err
	}
	go func() { _, _, _ = unix.Accept(inherited) }()
	return waitForEnd()
}

// listenRole listens on an address with SO_REUSEPORT.
func listenRole(args []string) error {
	l, err := listenConfig(reusePort).Listen(background, "tcp", args[0])
	if err != nil {
		return err
	}
	defer l.Close()
	return waitForEnd()
}

// fetchRole says how it goes to fetch a descriptor of a process.
func fetchRole(args []string) error {
	pid, _ := strconv.Atoi(args[0])
	fd, _ := strconv.Atoi(args[1])
	_, err := Fetch(pid, fd)
	fmt.Println(err)
	return nil
}

// seekRole says how it goes to find the holders of an inode.
func seekRole(args []string) error {
	inode, _ := strconv.Atoi(args[0])
	found, err := Holders([]uint32{uint32(inode)})
	fmt.Println(len(found), err)
	return nil
}

func waitForEnd() error {
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// child is a process in a role that waits for its end.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// end lets the child leave, and waits for it.
func (c *child) end() {
	c.stdin.Close()
	_ = c.cmd.Wait()
}

// start starts a child and returns when it is ready.
func start(t testing.TB, role string, args []string, files ...*os.File) *child {
	t.Helper()
	cmd := command(role, args...)
	cmd.ExtraFiles = files
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd, stdin}
	t.Cleanup(c.end)
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("a child to %s said %q, %v", role, line, err)
	}
	return c
}

func command(role string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role, "GORACE=atexit_sleep_ms=0")
	return cmd
}

// asNobody runs a role to its end, as a user without any privilege.
func asNobody(t *testing.T, role string, args ...string) string {
	t.Helper()
	// The folder of a test binary is closed to others. A descriptor of the
	// binary can be executed nevertheless.
	binary, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer binary.Close()

	cmd := command(role, args...)
	cmd.Path, cmd.ExtraFiles, cmd.Dir = fmt.Sprintf("/proc/self/fd/%d", inherited), []*os.File{binary}, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s as nobody: %v\n%s", role, err, out)
	}
	return strings.TrimSpace(string(out))
}

// eventually waits until f is true. It gives up long after any machine would
// have got there.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never came: %s", what)
		}
	}
}

// option changes a socket before it is bound.
type option func(fd int) error

func reusePort(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
}

// deferAccept keeps handshakes half open until the client sends data.
func deferAccept(fd int) error {
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 60)
}

func listenConfig(options ...option) *net.ListenConfig {
	config := &net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			for _, set := range options {
				if err := set(int(fd)); err != nil {
					failed = err
				}
			}
		})
		if failed != nil {
			return failed
		}
		return err
	}}
	config.SetMultipathTCP(false)
	return config
}

// listen listens until the test ends.
func listen(t testing.TB, network, address string, options ...option) *net.TCPListener {
	t.Helper()
	return listenWith(t, listenConfig(options...), network, address)
}

func listenWith(t testing.TB, config *net.ListenConfig, network, address string) *net.TCPListener {
	t.Helper()
	l, err := config.Listen(background, network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

// dial connects to a listener until the test ends.
func dial(t testing.TB, network string, to net.Addr) *net.TCPConn {
	t.Helper()
	c, err := net.Dial(network, to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// withFD calls f with the descriptor of a listener or connection.
func withFD(t testing.TB, c syscall.Conn, f func(fd int)) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { f(int(fd)) }); err != nil {
		t.Fatal(err)
	}
}

// describeOf describes a listener or connection of this process.
func describeOf(t testing.TB, c syscall.Conn) Description {
	t.Helper()
	var d Description
	withFD(t, c, func(fd int) {
		var err error
		if d, err = Describe(fd); err != nil {
			t.Fatal(err)
		}
	})
	return d
}

// fileOf duplicates a listener for a child to inherit.
func fileOf(t testing.TB, l *net.TCPListener) *os.File {
	t.Helper()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// addressOf is the Address that means exactly this listener's.
func addressOf(l net.Listener) Address {
	local := l.Addr().(*net.TCPAddr).AddrPort()
	return Address{Host: local.Addr().Unmap(), Port: local.Port()}
}

// only returns the one listener there is of an address.
func only(t testing.TB, a Address) Listener {
	t.Helper()
	found, err := Listeners(a)
	if err != nil || len(found) != 1 {
		t.Fatalf("listeners of %s: %+v, %v, want one", a, found, err)
	}
	return found[0]
}
