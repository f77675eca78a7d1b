package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/netns"
)

const (
	// readyWithin is far more than the slowest server takes to start.
	readyWithin = 30 * time.Second
	// portTries is how many free ports are tried that somebody else then takes.
	portTries = 5
)

// Options say how to start a server. The zero Options start it on a free port
// of the process's own network namespace.
type Options struct {
	// Port is the port to serve; 0: a free one.
	Port int
	// Host is where the server is asked whether it is ready; the zero Addr:
	// 127.0.0.1. It doesn't change where the server listens.
	Host netip.Addr
	// In is the namespace to run in; nil: the process's own.
	In *netns.Namespace
	// Shared is for a server that joins others on its port, under SO_REUSEPORT.
	// It is ready when it has answered itself, which takes more questions the
	// more processes there are. Otherwise another's answer is an error.
	Shared bool
	// Env are variables on top of the test's own, as NAME=VALUE.
	Env []string
	// Prepare, if set, changes the command before it is started: another
	// cgroup, another user. Its process group and output are taken.
	Prepare func(*exec.Cmd)
}

// Start starts s on port, a free one for 0, and waits until it answers. It fails
// t if that doesn't happen.
func Start(t testing.TB, s Server, port int) *Process {
	t.Helper()
	return Options{Port: port}.Start(t, s)
}

// Start starts s and waits until it answers. It fails t if that doesn't happen.
func (o Options) Start(t testing.TB, s Server) *Process {
	t.Helper()
	for try := 1; ; try++ {
		port := o.Port
		if port == 0 {
			port = FreePort(t, o.In)
		}
		p := o.launch(t, s, port)
		err := p.awaitReady(o)
		if err == nil {
			return p
		}
		p.Stop()
		if o.Port != 0 || try == portTries || !p.portTaken(err) {
			t.Fatalf("start %s on port %d: %v\n%s", s, port, err, p.Output())
		}
	}
}

// launch starts the process, and sees to its end.
func (o Options) launch(t testing.TB, s Server, port int) *Process {
	t.Helper()
	host := o.Host
	if !host.IsValid() {
		host = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}

	argv := s.Command(t, port)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), o.Env...)
	if o.Prepare != nil {
		o.Prepare(cmd)
	}
	p := &Process{
		Address: netip.AddrPortFrom(host, uint16(port)),
		cmd:     cmd,
		output:  outputFile(t),
		ended:   make(chan struct{}),
	}
	if err := within(o.In, p.start); err != nil {
		t.Fatalf("start %s: %v", s, err)
	}
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("output of %s, process %d:\n%s", s, p.PID, p.Output())
		}
	})
	return p
}

// outputFile opens a file for what a server says. With a file, other than with
// a pipe, nobody has to read while the server runs.
func outputFile(t testing.TB) *os.File {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "output")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// errStranger says that another process answers on the port.
var errStranger = errors.New("somebody else answers there")

// awaitReady asks until p answers.
func (p *Process) awaitReady(o Options) error {
	client := clients.Client{In: o.In, Timeout: time.Second}
	// A reset leaves nothing behind that a test could count.
	once := clients.Limits{Count: 1, Concurrency: 1, Abrupt: true}
	for deadline := time.Now().Add(readyWithin); ; {
		e := client.Load(context.Background(), p.Address, once)[0]
		err := e.Err
		if err == nil {
			if slices.Contains(p.family(), e.Answer.PID) {
				return nil
			}
			err = fmt.Errorf("process %d: %w", e.Answer.PID, errStranger)
			if !o.Shared {
				return err
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready after %v: %w", readyWithin, err)
		}
		select {
		case <-p.ended:
			return fmt.Errorf("it ended: %v", p.cmd.ProcessState)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// portTaken tells whether p failed, with err, for want of its port.
func (p *Process) portTaken(err error) bool {
	return errors.Is(err, errStranger) ||
		bytes.Contains(bytes.ToLower([]byte(p.Output())), []byte("address already in use"))
}

// start forks, in the namespace of the calling thread.
func (p *Process) start() error {
	if p.cmd.SysProcAttr == nil {
		p.cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	// A group of its own, so that all its processes can be ended.
	p.cmd.SysProcAttr.Setpgid = true
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.PID = p.cmd.Process.Pid
	guard, err := guardGroup(p.PID)
	p.guard = guard
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	if err != nil {
		p.Stop()
	}
	return err
}
