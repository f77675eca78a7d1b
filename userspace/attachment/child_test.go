package attachment

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/sockdist/sockdist/internal/netns"
	"golang.org/x/sys/unix"
)

// child is a server, or what it started.
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

// kill ends it as a crash does.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	c.end()
}

func command(role string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role, "GORACE=atexit_sleep_ms=0")
	return cmd
}

// serve starts a server in a namespace, nil for the test's, and returns when it listens.
func serve(t testing.TB, ns *netns.Namespace, address string, flags ...string) *child {
	t.Helper()
	cmd := command("serve", append(flags, address)...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := within(ns, cmd.Start); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd, stdin}
	t.Cleanup(c.end)
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("a server on %s said %q, %v", address, line, err)
	}
	return c
}

// serveMany starts n servers that share an address.
func serveMany(t testing.TB, ns *netns.Namespace, address string, n int) []*child {
	t.Helper()
	children := make([]*child, n)
	for i := range children {
		children[i] = serve(t, ns, address)
	}
	return children
}

func within(ns *netns.Namespace, f func() error) error {
	if ns == nil {
		return f()
	}
	return ns.Do(f)
}

// serveRole listens on an address and answers as package clients expects.
func serveRole(args []string) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	listeners := flags.Int("listeners", 1, "how many sockets")
	alone := flags.Bool("alone", false, "without SO_REUSEPORT")
	late := flags.Bool("late", false, "with SO_REUSEPORT after bind")
	mptcp := flags.Bool("mptcp", false, "with MPTCP")
	deaf := flags.Bool("deaf", false, "accept nothing")
	device := flags.String("device", "", "bind to this network device")
	handOver := flags.Bool("hand-over", false, "have another process hold each connection")
	sets := flags.Bool("sets", false, "each socket in an epoll set of its own, with its connections")
	giveAway := flags.Int("give-away", -1, "make this user the last socket's owner")
	if err := flags.Parse(args); err != nil {
		return err
	}
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		_ = c.Control(func(fd uintptr) {
			if !*alone && !*late {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			}
			if err == nil && *device != "" {
				err = unix.BindToDevice(int(fd), *device)
			}
		})
		return err
	}}
	config.SetMultipathTCP(*mptcp)
	network, address := "tcp", flags.Arg(0)
	if scheme, rest, ok := strings.Cut(address, "://"); ok {
		network, address = scheme, rest
	}
	for i := range *listeners {
		l, err := config.Listen(context.Background(), network, address)
		if err != nil {
			return err
		}
		file, err := l.(*net.TCPListener).File()
		if err != nil {
			return err
		}
		if *late {
			if err := unix.SetsockoptInt(int(file.Fd()), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
				return err
			}
		}
		if i == *listeners-1 && *giveAway >= 0 {
			if err := file.Chown(*giveAway, -1); err != nil {
				return err
			}
		}
		switch {
		case *deaf:
			defer l.Close()
			defer file.Close()
		case *sets:
			// A descriptor that the Go runtime's own set knows nothing of.
			fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				return err
			}
			l.Close()
			file.Close()
			go serveSet(fd)
		case *handOver:
			file.Close()
			go handEach(l.(*net.TCPListener))
		default:
			file.Close()
			go func() { _ = http.Serve(l, http.HandlerFunc(answer)) }()
		}
	}
	return waitForEnd()
}

func answer(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, os.Getpid()) }

// handEach gives every connection to a process of its own, which holds it, and
// answers when nobody else does.
func handEach(l *net.TCPListener) {
	for {
		c, err := l.AcceptTCP()
		if err != nil {
			return
		}
		file, err := c.File()
		if err != nil {
			return
		}
		cmd := command("hold")
		cmd.ExtraFiles = []*os.File{file}
		alone, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		file.Close()
		c.Close()
		if err == nil {
			alone.Close()
			go func() { _ = cmd.Wait() }()
		}
	}
}

// holdRole answers on the connection that it inherited, as soon as its standard input
// ends, and holds it until the other end closes.
func holdRole([]string) error {
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	c := os.NewFile(3, "connection")
	body := fmt.Sprint(os.Getpid())
	fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	_, err := io.Copy(io.Discard, c)
	return err
}

// serveSet is the event loop of one thread, as of servers that have several.
func serveSet(listener int) {
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return
	}
	watch := func(fd int) {
		_ = unix.EpollCtl(set, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	}
	watch(listener)
	body := fmt.Sprint(os.Getpid())
	reply := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	for events := make([]unix.EpollEvent, 16); ; {
		n, err := unix.EpollWait(set, events, -1)
		if err != nil && err != unix.EINTR {
			return
		}
		for _, e := range events[:max(n, 0)] {
			fd := int(e.Fd)
			if fd == listener {
				if c, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK); err == nil {
					watch(c)
				}
				continue
			}
			var request [4096]byte
			if n, _ := unix.Read(fd, request[:]); n <= 0 {
				unix.Close(fd)
			} else {
				_, _ = unix.Write(fd, reply)
			}
		}
	}
}

func waitForEnd() error {
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}
