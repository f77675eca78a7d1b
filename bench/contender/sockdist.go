package contender

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/userspace/control"
)

// underSockdist starts a command in s.Workers copies by sockdist run. The
// command finds its port in the environment's PORT, and in place of {port} in
// its arguments. Workers are what the supervisor started itself: an app that
// forks has to say better.
func (s *Setup) underSockdist(ctx context.Context, policy string, c Command) (*Fleet, error) {
	port, err := freePort()
	if err != nil {
		return s.fail(err)
	}
	a, err := s.newApp()
	if err != nil {
		return s.fail(err)
	}
	args := a.command("run", "-n", strconv.Itoa(s.Workers), "--name", a.name, "--policy", policy,
		"--grace", "1s", "--log", "plain", "--")
	for _, arg := range c.Args {
		args = append(args, strings.ReplaceAll(arg, "{port}", strconv.Itoa(port)))
	}
	env := append(append([]string{}, c.Env...), fmt.Sprintf("PORT=%d", port), a.runtimeSetting())
	if a.supervisor, err = s.Start(Command{Args: args, Env: env, Files: c.Files}); err != nil {
		return s.fail(err)
	}
	f := s.begun()
	f.Workers, f.Reload, f.Grow = a.workers, a.reload, a.grow
	return s.ready(ctx, local(port))
}

// local is where clients find a port.
func local(port int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))
}

// An app is one of sockdist run, with a runtime folder of its own.
type app struct {
	setup      *Setup
	name       string
	pins       string
	runtime    string        // folder
	tree       cgroup.Branch // of its workers
	supervisor *Process
}

func (s *Setup) newApp() (*app, error) {
	a := &app{setup: s, name: nextApp()}
	var err error
	if a.tree, err = branchOf(a.name); err != nil {
		return nil, err
	}
	// Not in the setup's folder, whose path may be too long for a socket's.
	if a.runtime, err = Folder(); err != nil {
		return nil, err
	}
	if a.pins, err = usePins(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(a.runtime))
	}
	f := s.begun()
	f.trees = append(f.trees, a.tree)
	f.ends = append(f.ends, a.end)
	return a, nil
}

func (a *app) command(args ...string) []string {
	return append([]string{a.setup.Programs.Sockdist, "--dir", a.pins}, args...)
}

func (a *app) runtimeSetting() string { return "SOCKDIST_RUNTIME_DIR=" + a.runtime }

// verb has the supervisor do something, from outside of the fleet's cgroups.
func (a *app) verb(ctx context.Context, args ...string) error {
	return runVerb(ctx, a.command(args...), a.runtimeSetting())
}

func runVerb(ctx context.Context, args []string, env ...string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), env...)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(output)))
	}
	return nil
}

// workers reads what the supervisor writes down, which says the same as
// sockdist status and costs no process beside the measurement.
func (a *app) workers() (pids []int, err error) {
	state, err := control.ReadState(a.runtime, a.name)
	if err != nil {
		return nil, err
	}
	for _, w := range state.Workers {
		if w.Stage == control.StageServing {
			pids = append(pids, w.PID)
		}
	}
	return pids, nil
}

func (a *app) reload(ctx context.Context) error { return a.verb(ctx, "reload", a.name) }

func (a *app) grow(ctx context.Context) error {
	state, err := control.ReadState(a.runtime, a.name)
	if err != nil {
		return err
	}
	return a.verb(ctx, "scale", a.name, strconv.Itoa(state.Wanted+1))
}

// end is in order first, and in less and less of it: the second signal doesn't
// wait for connections, the third kills.
func (a *app) end() error {
	if a.supervisor != nil {
		for range 3 {
			_ = a.supervisor.Signal(unix.SIGTERM)
			if a.supervisor.awaitEnd(time.Second) {
				break
			}
		}
		a.force()
	}
	return errors.Join(leavePins(), os.RemoveAll(a.runtime))
}

// force ends what the supervisor couldn't, or left when somebody killed it.
func (a *app) force() {
	if a.supervisor.awaitEnd(5*time.Second) && !a.tree.Exists() {
		return
	}
	_ = a.supervisor.Signal(unix.SIGKILL)
	<-a.supervisor.ended
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = a.tree.Kill()
	_ = a.verb(ctx, "stop", a.name)
}

// attach has sockdist steer the listeners of a fleet, and give them back at its
// end.
func (s *Setup) attach(ctx context.Context, f *Fleet, policy string) error {
	pins, err := usePins()
	if err != nil {
		return err
	}
	name := nextApp()
	sockdist := func(args ...string) []string { return append([]string{s.Programs.Sockdist, "--dir", pins}, args...) }
	args := sockdist("attach", "--name", name, "--policy", policy, fmt.Sprintf(":%d", f.Address.Port()))
	if err := runVerb(ctx, args); err != nil {
		return errors.Join(err, leavePins())
	}
	f.Commands = append(f.Commands, args)
	f.ends = append(f.ends, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		return errors.Join(runVerb(ctx, sockdist("detach", name)), leavePins())
	})
	return nil
}
