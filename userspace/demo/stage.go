package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/sockdist/sockdist/loader"
	"golang.org/x/sys/unix"
)

// The two sides.
const (
	kernelHash = iota
	steered
	sides
)

// A stage is what a demo has set up.
type stage struct {
	plan     Plan
	address  [sides]string
	listener [sides][]*net.TCPListener
	group    [sides]*loader.Group
	workers  []*exec.Cmd
	lifeline *os.File
	most     [sides][MaxWorkers]uint64 // connections that were seen at once
}

// A Command makes the command line of a worker; it has to call Worker.
type Command func(number int, service time.Duration) []string

// setUp opens the ports, forms both groups, and starts the workers as
// command says. Both sides are counted; only one is steered.
func setUp(host *loader.Host, plan Plan, command Command) (s *stage, err error) {
	s = &stage{plan: plan}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.tearDown())
			s = nil
		}
	}()
	for side := range sides {
		if err := s.open(host, side); err != nil {
			return s, err
		}
	}
	if err := s.startWorkers(command); err != nil {
		return s, err
	}
	// A copy of a listener that we keep would hold it open.
	for side := range sides {
		for _, l := range s.listener[side] {
			l.Close()
		}
	}
	return s, nil
}

// open makes one side's listeners and their group.
func (s *stage) open(host *loader.Host, side int) (err error) {
	s.address[side] = "127.0.0.1:0"
	for range s.plan.Workers {
		l, err := listen(s.address[side])
		if err != nil {
			return err
		}
		s.listener[side] = append(s.listener[side], l)
		s.address[side] = l.Addr().String()
	}
	spec := loader.GroupSpec{Name: [...]string{"hash", "least"}[side], Policy: loader.Least,
		Address: s.listener[side][0].Addr().(*net.TCPAddr).AddrPort()}
	if s.group[side], err = host.CreateGroup(spec); err != nil {
		return err
	}
	for i, l := range s.listener[side] {
		if err := control(l, func(fd int) error {
			_, err := s.group[side].Add(i, loader.Listener{FD: fd})
			return err
		}); err != nil {
			return err
		}
	}
	if side == kernelHash {
		return nil
	}
	return control(s.listener[side][0], s.group[side].Steer)
}

func listen(address string) (*net.TCPListener, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		set := func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }
		return errors.Join(c.Control(set), err)
	}}
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

func control(l *net.TCPListener, do func(fd int) error) (err error) {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	return errors.Join(raw.Control(func(fd uintptr) { err = do(int(fd)) }), err)
}

func (s *stage) startWorkers(command Command) error {
	end, lifeline, err := os.Pipe()
	if err != nil {
		return err
	}
	defer end.Close()
	s.lifeline = lifeline
	for i := range s.plan.Workers {
		argv := command(i, s.plan.service(i))
		worker := exec.Command(argv[0], argv[1:]...)
		worker.Stderr = os.Stderr
		worker.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is ours
		worker.ExtraFiles = []*os.File{end}
		for side := range sides {
			file, err := s.listener[side][i].File()
			if err != nil {
				return err
			}
			defer file.Close()
			worker.ExtraFiles = append(worker.ExtraFiles, file)
		}
		if err := worker.Start(); err != nil {
			return fmt.Errorf("start worker %d: %w", i, err)
		}
		s.workers = append(s.workers, worker)
	}
	return nil
}

// tearDown ends the workers and takes the groups out of the kernel.
func (s *stage) tearDown() error {
	var all error
	if s.lifeline != nil {
		s.lifeline.Close()
	}
	for _, w := range s.workers {
		all = errors.Join(all, w.Wait())
	}
	for side := range sides {
		for _, l := range s.listener[side] {
			l.Close()
		}
		if g := s.group[side]; g != nil {
			all = errors.Join(all, g.Destroy(), g.Close())
		}
	}
	return all
}
