package contender

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"

	"golang.org/x/sys/unix"
)

// An Idler is what stands in front of workers, started for some number of
// groups (Setup.Workers) and then left alone: for what it costs when nothing
// happens. Its fleet has no address, and its Workers are what isn't to be
// counted as its cost.
type Idler struct {
	*Contender
	Most int // groups that make sense, one process for each of them
}

// Idlers are all of them.
func Idlers() []*Idler {
	return []*Idler{
		idler("haproxy", "HAProxy with a frontend a group, which checks nobody", 100, idleHAProxy, "haproxy"),
		idler("node-cluster", "a master of Node's cluster a group", 10, idleCluster, "node"),
		idler("serve-groups", "sockdist serve, groups for library workers", 100, idleServe("groups")),
		idler("serve-apps", "sockdist serve, apps of one worker", 100, idleServe("apps")),
		idler("serve-attach", "sockdist serve, attachments", 100, idleServe("attach")),
		idler("attach", "sockdist attach: no process stays", 100, idleAttach),
		idler("attach-watch", "sockdist attach --watch, a process a group", 100, idleWatch),
		idler("run", "sockdist run, a supervisor a group", 10, idleRun),
	}
}

func idler(name, title string, most int, start func(context.Context, *Setup) (*Fleet, error), needs ...string) *Idler {
	within := func(ctx context.Context, s *Setup) (*Fleet, error) {
		ctx, cancel := context.WithTimeout(ctx, idleStart)
		defer cancel()
		return start(ctx, s)
	}
	return &Idler{Contender: &Contender{Name: name, Title: title, Needs: needs, Start: within}, Most: most}
}

// idleStart is how long an idler may take until it has nothing to do any more.
const idleStart = 90 * time.Second

// An idleGroup is a port, and two others for who would serve it.
type idleGroup struct {
	Number              int
	Port, First, Second int
}

// idleGroups are as many as the setup says, on ports of their own.
func (s *Setup) idleGroups() (groups []idleGroup, err error) {
	var ports []int
	for len(ports) < 3*s.Workers {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		if !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	for i := range s.Workers {
		groups = append(groups, idleGroup{Number: i, Port: ports[3*i], First: ports[3*i+1], Second: ports[3*i+2]})
	}
	return groups, nil
}

// fill writes a config from a template of bench/peers/idle.
func (s *Setup) fill(name string, data any) (path string, err error) {
	t, err := template.ParseFiles(filepath.Join(s.Programs.Peers, "idle", name))
	if err != nil {
		return "", err
	}
	var text strings.Builder
	if err := t.Execute(&text, data); err != nil {
		return "", err
	}
	return s.Config(name, text.String())
}

// idle is the fleet, which has no address. Nothing of it is a worker unless it says so.
func (s *Setup) idle(ctx context.Context, ready func(context.Context) error) (*Fleet, error) {
	f := s.begun()
	if f.Workers == nil {
		f.Workers = func() ([]int, error) { return nil, nil }
	}
	for {
		err := ready(ctx)
		if err == nil {
			return f, nil
		}
		if ended := f.Alive(); ended != nil {
			return s.fail(ended)
		}
		select {
		case <-ctx.Done():
			return s.fail(fmt.Errorf("it isn't ready: %w", err))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func idleHAProxy(ctx context.Context, s *Setup) (*Fleet, error) {
	groups, err := s.idleGroups()
	if err != nil {
		return s.fail(err)
	}
	path, err := s.fill("haproxy.cfg", groups)
	if err != nil {
		return s.fail(err)
	}
	if _, err := s.Start(Command{Args: []string{"haproxy", "-db", "-f", path}}); err != nil {
		return s.fail(err)
	}
	return s.idle(ctx, func(context.Context) error { return listens(groups[len(groups)-1].Port) })
}

// listens tells whether somebody listens on a port.
func listens(port int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
}

// idleCluster starts a master with two workers a group.
func idleCluster(ctx context.Context, s *Setup) (*Fleet, error) {
	groups, err := s.idleGroups()
	if err != nil {
		return s.fail(err)
	}
	var masters []int
	for _, g := range groups {
		p, err := s.Start(Command{Args: []string{"node", s.nodePeer("cluster.js"), s.nodePeer("app.js"), "2"}, Env: []string{fmt.Sprintf("PORT=%d", g.Port)}})
		if err != nil {
			return s.fail(err)
		}
		masters = append(masters, p.PID)
	}
	f := s.begun()
	f.Workers = below(func() ([]int, error) { return masters, nil })
	return s.idle(ctx, func(context.Context) error {
		if pids, err := f.Workers(); err != nil || len(pids) < 2*len(groups) {
			return fmt.Errorf("%d of %d workers serve: %w", len(pids), 2*len(groups), err)
		}
		return nil
	})
}
