package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/internal/servers"
)

// onTmpfs starts sockdist in a mount namespace where its runtime folder is a
// small file system of its own, which the shell commands then change; $1 is the
// folder.
func onTmpfs(t testing.TB, commands string) setup {
	t.Helper()
	needPrograms(t)
	unshare := privilege.Tool(t, "unshare")
	folder := filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	return setup{runtime: folder, under: []string{unshare, "--mount", "sh", "-ec",
		"mount -t tmpfs -o size=8k tmpfs \"$1\"\n" + commands + "\nshift\nexec \"$@\"", "sh", folder}}
}

// inside is a path as the process of sockdist sees it.
func (a *app) inside(path string) string { return fmt.Sprintf("/proc/%d/root%s", a.pid(), path) }

// A runtime folder that can't be written is said so, and traffic goes on, also
// over a crash of a worker; signals do what requests can't.
func TestRuntimeFolderIsReadOnly(t *testing.T) {
	t.Parallel()
	s := onTmpfs(t, `mount -o remount,ro "$1"`)
	port := servers.FreePort(t, nil)
	s.flags = []string{"-n", "2"}
	a := s.start(t, "worker", "-listen", fmt.Sprint(":", port)).serves(port, 2)
	a.says("read-only file system")
	before := a.settled(port, 2)
	load := startTraffic(t, clients.Client{}, local(port))
	a.signal(unix.SIGHUP)
	until(t, "all workers are others", func() bool {
		for _, pid := range a.pids(port) {
			if pid == before[0] || pid == before[1] {
				return false
			}
		}
		return true
	})
	after := a.settled(port, 2)
	load.expectAnswered()
	for slot, pid := range after {
		killProcess(t, pid)
		until(t, "another process has the slot of the killed worker", func() bool { return a.slot(port, slot).PID != pid })
		a.settled(port, 2)
	}
	expectSaid(t, a.refused(1, "reload", a.name), a.name, "takes no requests")
	a.signal(unix.SIGTERM)
	if code := a.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// A full runtime folder is said once, and again when there is room; meanwhile
// reload and scale go on.
func TestRuntimeFolderIsFull(t *testing.T) {
	t.Parallel()
	s := onTmpfs(t, `head -c 1m /dev/zero > "$1/ballast" 2> /dev/null || true`)
	port := servers.FreePort(t, nil)
	s.flags = []string{"-n", "2"}
	a := s.start(t, "worker", "-listen", fmt.Sprint(":", port)).serves(port, 2)
	a.says("write the state down: ")
	a.says("no space left on device; a supervisor that takes over after a crash knows less then")
	before := a.settled(port, 2)
	load := startTraffic(t, clients.Client{}, local(port))

	// Requests reach it: sockets need no space.
	outside := *a
	outside.runtime = a.inside(a.runtime)
	outside.verb("reload", a.name)
	expectReplaced(t, before, a.settled(port, 2))
	outside.verb("scale", a.name, "3")
	a.settled(port, 3)

	if err := os.Remove(a.inside(filepath.Join(a.runtime, "ballast"))); err != nil {
		t.Fatal(err)
	}
	outside.verb("scale", a.name, "2")
	a.says("the state is written down again")
	a.settled(port, 2)
	outside.rests(2)
	load.expectAnswered()
}
