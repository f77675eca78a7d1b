package contender

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/loader"
)

// idling is sockdist with nothing to do.
type idling struct {
	setup   *Setup
	groups  []idleGroup
	host    *loader.Temporary // with pins of its own: they are read all the time
	runtime string            // folder
	binary  string
	apps    []cgroup.Branch
	sockets []io.Closer
}

// newIdling has a copy of the command of its own. The memory of its code is
// shared by all processes that run it: by those of another row, it shouldn't be.
func newIdling(s *Setup) (i *idling, err error) {
	i = &idling{setup: s, binary: filepath.Join(s.Folder, "sockdist")}
	if i.groups, err = s.idleGroups(); err != nil {
		return nil, err
	}
	if err := copyProgram(s.Programs.Sockdist, i.binary); err != nil {
		return nil, err
	}
	if i.runtime, err = Folder(); err != nil {
		return nil, err
	}
	if i.host, err = loader.OpenTemporary("bench"); err != nil {
		return nil, errors.Join(err, os.RemoveAll(i.runtime))
	}
	f := s.begun()
	f.ends = append(f.ends, i.end)
	return i, nil
}

func copyProgram(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func (i *idling) command(args ...string) []string {
	return append([]string{i.binary, "--dir", filepath.Dir(i.host.Dir())}, args...)
}

func (i *idling) env() []string { return []string{"SOCKDIST_RUNTIME_DIR=" + i.runtime} }

func (i *idling) start(args ...string) error {
	_, err := i.setup.Start(Command{Args: i.command(args...), Env: i.env()})
	return err
}

// listen makes two listeners for each group, which share its port, to attach to.
func (i *idling) listen(ctx context.Context) error {
	config := net.ListenConfig{Control: reusePort}
	config.SetMultipathTCP(false)
	for _, g := range i.groups {
		for range 2 {
			l, err := config.Listen(ctx, "tcp4", fmt.Sprintf("127.0.0.1:%d", g.Port))
			if err != nil {
				return err
			}
			i.sockets = append(i.sockets, l)
		}
	}
	return nil
}

func reusePort(_, _ string, raw syscall.RawConn) (err error) {
	failed := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
	return errors.Join(failed, err)
}

// steered wants so many groups with a live slot, or groups that have none if
// they are for workers that might come.
func (i *idling) steered(slots bool) func(context.Context) error {
	return func(ctx context.Context) error {
		cmd := exec.CommandContext(ctx, i.setup.Programs.Sockdist, i.command("status", "--json")[1:]...)
		cmd.Env = append(os.Environ(), i.env()...)
		output, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("sockdist status: %w", err)
		}
		var status struct {
			Groups []struct{ Slots []struct{ State string } }
		}
		if err := json.Unmarshal(output, &status); err != nil {
			return fmt.Errorf("sockdist status: %w", err)
		}
		n := 0
		for _, g := range status.Groups {
			if !slots || len(g.Slots) > 0 && g.Slots[0].State == "live" {
				n++
			}
		}
		if n < len(i.groups) {
			return fmt.Errorf("%d of %d groups are steered", n, len(i.groups))
		}
		return nil
	}
}

// end stops all at the same time, the pins last.
func (i *idling) end() error {
	f := i.setup.begun()
	for range 3 { // the second signal doesn't wait for connections
		for _, p := range f.processes {
			_ = p.Signal(unix.SIGTERM)
		}
		if allEnd(f.processes, time.Now().Add(10*time.Second)) {
			break
		}
	}
	failed := i.setup.Leaf.Kill()
	allEnd(f.processes, time.Now().Add(patience))
	for _, app := range i.apps {
		_ = app.Kill()
	}
	for _, socket := range i.sockets {
		failed = errors.Join(failed, socket.Close())
	}
	return errors.Join(failed, i.host.Remove(), os.RemoveAll(i.runtime))
}

func allEnd(all []*Process, deadline time.Time) bool {
	for _, p := range all {
		if !p.awaitEnd(time.Until(deadline)) {
			return false
		}
	}
	return true
}

// idleServe is one sockdist serve.
func idleServe(kind string) func(ctx context.Context, s *Setup) (*Fleet, error) {
	return func(ctx context.Context, s *Setup) (*Fleet, error) {
		i, err := newIdling(s)
		if err != nil {
			return s.fail(err)
		}
		name := nextApp()
		switch kind {
		case "attach":
			err = i.listen(ctx)
		case "apps":
			err = i.expectApps(name)
		}
		if err != nil {
			return s.fail(err)
		}
		path, err := s.fill("serve.yaml", map[string]any{"Kind": kind, "Groups": i.groups, "Folder": i.runtime, "Name": name, "Server": s.Programs.Server})
		if err == nil {
			err = i.start("serve", "--config", path)
		}
		if err != nil {
			return s.fail(err)
		}
		return s.idle(ctx, i.steered(kind != "groups"))
	}
}

// expectApps notes the cgroups of apps that will be called after their groups.
func (i *idling) expectApps(prefix string) error {
	for _, g := range i.groups {
		b, err := branchOf(prefix + "-" + strconv.Itoa(g.Number))
		if err != nil {
			return err
		}
		i.apps = append(i.apps, b)
	}
	return nil
}

// idleAttach attaches, and nothing stays but the kernel's part.
func idleAttach(ctx context.Context, s *Setup) (*Fleet, error) {
	return s.idleAttached(ctx, func(i *idling, address string) error {
		return runVerb(ctx, i.command("attach", address), i.env()...)
	})
}

// idleWatch attaches each group by a process that stays.
func idleWatch(ctx context.Context, s *Setup) (*Fleet, error) {
	return s.idleAttached(ctx, func(i *idling, address string) error {
		return i.start("attach", "--watch", address)
	})
}

// idleAttached has listeners for each group, which are attached one by one.
func (s *Setup) idleAttached(ctx context.Context, attach func(i *idling, address string) error) (*Fleet, error) {
	i, err := newIdling(s)
	if err != nil {
		return s.fail(err)
	}
	if err := i.listen(ctx); err != nil {
		return s.fail(err)
	}
	for _, g := range i.groups {
		if err := attach(i, fmt.Sprintf("127.0.0.1:%d", g.Port)); err != nil {
			return s.fail(err)
		}
	}
	return s.idle(ctx, i.steered(true))
}

// idleRun has a supervisor with two workers for each group.
func idleRun(ctx context.Context, s *Setup) (*Fleet, error) {
	i, err := newIdling(s)
	if err != nil {
		return s.fail(err)
	}
	prefix := nextApp()
	if err := i.expectApps(prefix); err != nil {
		return s.fail(err)
	}
	for _, g := range i.groups {
		command := Command{Args: i.command("run", "-n", "2", "--name", fmt.Sprintf("%s-%d", prefix, g.Number), "--grace", "1s", "--", s.Programs.Server),
			Env: append(i.env(), fmt.Sprintf("PORT=%d", g.Port))}
		if _, err := s.Start(command); err != nil {
			return s.fail(err)
		}
	}
	return s.idle(ctx, i.steered(true))
}
