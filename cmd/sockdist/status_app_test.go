package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/loader"
)

// startSleeper runs a process that does nothing until it is stopped, or the test ends.
func startSleeper(t *testing.T) (pid int, stop func()) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{asSleeper + "=1", "GORACE=" + noSleep}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		stdin.Close()
		_ = cmd.Wait()
	})
	t.Cleanup(stop)
	return cmd.Process.Pid, stop
}

// sleepIn runs one in a network namespace, which can be found by it then.
func sleepIn(t *testing.T, ns *netns.Namespace) (pid int) {
	t.Helper()
	if err := ns.Do(func() error { pid, _ = startSleeper(t); return nil }); err != nil {
		t.Fatal(err)
	}
	return pid
}

func newApp(t *testing.T, dir, name string) *loader.App {
	t.Helper()
	mount, err := cgroup.Find()
	if err != nil {
		t.Skip(err)
	}
	folder, err := os.MkdirTemp(mount.Dir, "sockdist-status-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(folder) })
	host, err := loader.Open(loader.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	app, err := host.CreateApp(loader.AppSpec{Name: name, Cgroup: folder})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := app.Destroy(); err != nil {
			t.Error(err)
		}
		app.Close()
	})
	return app
}

func TestStatusOfApps(t *testing.T) {
	dir := newDir(t)
	app := newApp(t, dir, "web")
	if s := statusJSON(t, dir, "web"); len(s.Groups) != 0 || len(s.Apps) != 1 || s.Apps[0].PID != 0 || s.Apps[0].Workers == nil {
		t.Errorf("before it listens: %+v", s)
	}
	listeners := listenShared(t, "tcp4", "127.0.0.1:0", 2)
	g := newGroup(t, dir, loader.GroupSpec{Name: "web-a", App: "web"}, listeners...)
	steer(t, g, listeners[0])
	newGroup(t, dir, loader.GroupSpec{Name: "web-b", App: "web"}, listenShared(t, "tcp4", "127.0.0.1:0", 2)...)
	newGroup(t, dir, loader.GroupSpec{Name: "alone", Address: netip.MustParseAddrPort("127.0.0.1:1")})

	if err := app.SetSupervisor(os.Getpid()); err != nil {
		t.Fatal(err)
	}
	s := statusJSON(t, dir)
	if len(s.Groups) != 3 || len(s.Apps) != 1 || s.Apps[0].Name != "web" || s.Apps[0].PID != os.Getpid() || len(s.Apps[0].Workers) != 2 {
		t.Fatalf("%+v", s)
	}
	if w := s.Apps[0].Workers[1]; w.Slot != 1 || w.PID != os.Getpid() || w.State != "live" || w.Process == "" {
		t.Errorf("worker: %+v", w)
	}
	if s := statusJSON(t, dir, "alone"); len(s.Groups) != 1 || len(s.Apps) != 0 {
		t.Errorf("of a group without app: %+v", s)
	}
	if s := statusJSON(t, dir, "web-a"); len(s.Groups) != 1 || len(s.Apps) != 1 {
		t.Errorf("of one of its groups: %+v", s)
	}
	out := sockdist(t, dir, "status").out
	if want := fmt.Sprintf("app web: 2 workers, supervisor %d\n", os.Getpid()); !strings.HasPrefix(out, want) {
		t.Errorf("no %q in\n%s", want, out)
	}

	ended, stop := startSleeper(t)
	if err := app.SetSupervisor(ended); err != nil {
		t.Fatal(err)
	}
	if s := statusJSON(t, dir); s.Apps[0].PID != ended {
		t.Errorf("another supervisor: %+v", s.Apps)
	}
	stop()
	if s := statusJSON(t, dir); s.Apps[0].PID != 0 {
		t.Errorf("supervisor ended: %+v", s.Apps)
	}
	if out := sockdist(t, dir, "status").out; !strings.Contains(out, "no supervisor") {
		t.Error(out)
	}
}
