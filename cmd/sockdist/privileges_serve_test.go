package main_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sockdist/sockdist/internal/capabilities"
	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/internal/servers"
	"github.com/sockdist/sockdist/userspace/worker"

	sockdist "github.com/sockdist/sockdist/cmd/sockdist"
)

// A setting is a configuration of a test.
type setting struct {
	config    string
	appPort   int // 0: no app
	groupPort int // 0: no library group
}

func (w *world) serve(by actor, s setting) outcome {
	w.t.Helper()
	a := w.startServe(by, s)
	return a.end(a.serving(s))
}

// socket is short, as a socket's path has to be.
func (w *world) socket() string { return filepath.Join(w.runtime, "control") }

func (w *world) startServe(by actor, s setting) *runningApp {
	w.t.Helper()
	folder := filepath.Join(filepath.Dir(w.sockdist), "config-"+w.name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		w.t.Fatal(err)
	}
	file := filepath.Join(folder, "sockdist.yaml")
	if err := os.WriteFile(file, []byte(s.config), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return w.startCommand(w.command(by, "serve", "--config", file))
}

// serving tells whether all that is configured works.
func (a *runningApp) serving(s setting) bool {
	a.w.t.Helper()
	until(a.w.t, "the daemon serves or fails: "+read(a.log), func() bool {
		select {
		case <-a.ended:
			return true
		default:
			return strings.Contains(read(a.log), "serving:") || a.complains()
		}
	})
	if a.complains() || !strings.Contains(read(a.log), "serving:") {
		return false
	}
	if s.groupPort != 0 && !a.w.joins(s.groupPort) {
		return false
	}
	if s.appPort != 0 {
		a.w.port, s.appPort = s.appPort, a.w.port
		defer func() { a.w.port = s.appPort }()
		return a.w.answers()
	}
	return true
}

// joins has a worker that uses the library join, and tells whether it was steered.
func (w *world) joins(port int) bool {
	l, err := worker.Listen(context.Background(), "tcp", fmt.Sprint("127.0.0.1:", port), worker.WithSocket(w.socket()))
	if err != nil {
		w.t.Logf("join: %v", err)
		return false
	}
	defer l.Close()
	return l.Steered()
}

func (w *world) endServe() {
	_ = w.dress(exec.Command(w.plain[0], "detach", "--all")).Run()
	w.kill(func(pid int) bool {
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		return string(comm) != "sleep\n" // the servers stay
	})
	w.removeCgroups()
	_ = os.RemoveAll(w.pins)
	_ = os.RemoveAll(w.runtime)
}

func TestServeNeedsWhatIsDocumented(t *testing.T) {
	for name, c := range map[string]struct {
		when   []sockdist.Condition
		config func(w *world) setting
		// spare are needed only when a worker hangs, or came before the daemon.
		spare capabilities.Set
	}{
		"groups": {[]sockdist.Condition{sockdist.WithGroups}, func(w *world) setting {
			port := servers.FreePort(w.t, nil)
			return setting{config: fmt.Sprintf("groups: {api: {listen: \"127.0.0.1:%d\"}}\n", port), groupPort: port}
		}, capabilities.Of(capabilities.SysPtrace, capabilities.DACReadSearch, capabilities.Chown)},
		"a low port": {[]sockdist.Condition{sockdist.WithGroups, sockdist.WithLowPorts}, func(w *world) setting {
			port := servers.FreeLowPort(w.t)
			return setting{config: fmt.Sprintf("groups: {api: {listen: \"127.0.0.1:%d\"}}\n", port), groupPort: port}
		}, capabilities.Of(capabilities.SysPtrace, capabilities.DACReadSearch, capabilities.Chown)},
		"a given socket": {[]sockdist.Condition{sockdist.WithGroups, sockdist.WithOwner}, func(w *world) setting {
			port := servers.FreePort(w.t, nil)
			return setting{config: fmt.Sprintf("socket: {owner: nobody}\ngroups: {api: {listen: \"127.0.0.1:%d\"}}\n", port), groupPort: port}
		}, capabilities.Of(capabilities.SysPtrace, capabilities.DACReadSearch)},
		"an attachment": {nil, func(w *world) setting {
			w.server(nobody)
			return setting{config: fmt.Sprintf("attach: {server: {address: %q}}\n", w.address())}
		}, 0},
		"an app with a user": {[]sockdist.Condition{sockdist.WithApps, sockdist.WithUser}, func(w *world) setting {
			return setting{config: fmt.Sprintf("apps: {%s: {command: [%s, -listen, %q], workers: 2, user: \"nobody:nogroup\", grace: 5s}}\n",
				w.name, w.worker, w.address()), appPort: w.port}
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := c.config(w)
			deed{
				name: name, verb: "serve", when: c.when, undo: (*world).endServe, spare: c.spare,
				do: func(w *world, by actor) outcome { return w.serve(by, s) },
			}.test(w)
			w.endServe()
			w.killAll()
		})
	}
}

// The daemon keeps what its configuration takes, in every thread, and wants no
// new privileges where it starts nothing.
func TestServeGivesUpWhatItDoesNotNeed(t *testing.T) {
	privilege.Require(t)
	for name, c := range map[string]struct {
		duty   capabilities.Duty
		nnp    bool
		config func(w *world) setting
	}{
		"groups": {capabilities.Duty{Groups: true}, true, func(w *world) setting {
			port := servers.FreePort(w.t, nil)
			return setting{config: fmt.Sprintf("groups: {api: {listen: \"127.0.0.1:%d\"}}\n", port), groupPort: port}
		}},
		"low port": {capabilities.Duty{Groups: true, LowPorts: true}, true, func(w *world) setting {
			port := servers.FreeLowPort(w.t)
			return setting{config: fmt.Sprintf("groups: {api: {listen: \"127.0.0.1:%d\"}}\n", port), groupPort: port}
		}},
		"attachment": {capabilities.Duty{Attached: true}, true, func(w *world) setting {
			w.server(nobody)
			return setting{config: fmt.Sprintf("attach: {server: {address: %q}}\n", w.address())}
		}},
		"app with a user": {capabilities.Duty{Users: true}, false, func(w *world) setting {
			return setting{config: fmt.Sprintf("apps: {%s: {command: [%s, -listen, %q], workers: 2, user: \"nobody:nogroup\", grace: 5s}}\n",
				w.name, w.worker, w.address()), appPort: w.port}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := c.config(w)
			a := w.startServe(actor{has: whole(t)}, s)
			if !a.serving(s) {
				t.Fatalf("it doesn't serve:\n%s", read(a.log))
			}
			c.duty.Closed = rootIsClosed(t, w)
			threadsHave(t, a.cmd.Process.Pid, c.duty.Needs(capabilities.Own{}, 0), c.nnp)
			if o := a.end(true); !o.fine {
				t.Errorf("exit code %d, said\n%s", o.code, o.said)
			}
			w.endServe()
			w.killAll()
		})
	}
}

// What was given up can't be had back: apply says so, changes nothing, and all
// goes on.
func TestApplyOfWhatTakesMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	port := servers.FreePort(t, nil)
	s := setting{config: fmt.Sprintf("groups: {api: {listen: \"127.0.0.1:%d\"}}\n", port), groupPort: port}
	a := w.startServe(actor{has: whole(t)}, s)
	if !a.serving(s) {
		t.Fatalf("it doesn't serve:\n%s", read(a.log))
	}
	for name, more := range map[string]string{
		"a user's app": fmt.Sprintf("apps: {%s: {command: [%s, -listen, %q], user: \"nobody:nogroup\"}}\n", w.name, w.worker, w.address()),
		"root's app":   fmt.Sprintf("apps: {%s: {command: [%s, -listen, %q]}}\n", w.name, w.worker, w.address()),
		"a low port":   fmt.Sprintf("groups: {low: {listen: \"127.0.0.1:%d\"}}\n", servers.FreeLowPort(t)),
	} {
		file := a.cmd.Args[len(a.cmd.Args)-1]
		if err := os.WriteFile(file, []byte(more), 0o644); err != nil {
			t.Fatal(err)
		}
		o := w.verb(actor{has: whole(t)}, "apply")
		if o.code == 0 || !strings.Contains(o.said, "given up after the start: restart sockdist") {
			t.Errorf("%s: exit code %d, said %s", name, o.code, o.said)
		}
		if !w.joins(port) {
			t.Errorf("after %s nobody can join any more", name)
		}
	}
	a.end(true)
	w.endServe()
	w.killAll()
}
