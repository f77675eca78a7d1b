package main_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/servers"
)

// A file that is wrong is an error before anything is touched.
func TestServeBadFile(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	s.configure("apps:\n  x: {command: [sh], workers: none}\n  y: {}\n")
	out, errs, code := s.sockdistVerb("serve", "--config", s.file)
	want := fmt.Sprintf("%[1]s:2:31: apps.x.workers: none: must be auto or 1 to 256\n%[1]s:3:3: apps.y: has no command", s.file)
	if code != 1 || out != "" || !strings.HasPrefix(errs, want) {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	for _, path := range []string{s.runtime, s.pins} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s was made", path)
		}
	}
	if _, errs, code := s.sockdistVerb("serve"); code != 2 || !strings.Contains(errs, "--config") {
		t.Errorf("without a file: exit code %d, %s", code, errs)
	}
	if _, errs, code := s.sockdistVerb("serve", "--config", s.file+"-none"); code != 1 || !strings.Contains(errs, "no such file") {
		t.Errorf("without the file: exit code %d, %s", code, errs)
	}
	if _, errs, code := s.sockdistVerb("apply"); code != 1 || !strings.Contains(errs, "no sockdist serve runs") {
		t.Errorf("apply without a daemon: exit code %d, %s", code, errs)
	}
}

// What can't start disturbs nobody, and starts when its trouble is over: an app
// whose port somebody has, one whose command isn't there, one that is run by
// sockdist run, a group whose address somebody has.
func TestServeTroubles(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	web := s.bareWeb(2)
	var taken [2]net.Listener
	var ports [2]int
	for i := range taken {
		var err error
		if taken[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		defer taken[i].Close()
		ports[i] = taken[i].Addr().(*net.TCPAddr).Port
	}
	late := filepath.Join(t.TempDir(), "late")
	other := flags("-n 1").start(t, "worker", "-listen", fmt.Sprint("127.0.0.1:", servers.FreePort(t, nil)))
	latePort := servers.FreePort(t, nil)
	s.configure("apps:\n", web,
		fmt.Sprintf("  %s-taken: {command: [%q, -listen, \"127.0.0.1:%d\"], workers: 1, ports: [%[3]d], grace: 1s}\n", s.name, s.worker, ports[0]),
		fmt.Sprintf("  %s-late: {command: [%q, -listen, \"127.0.0.1:%d\"], workers: 1, grace: 1s}\n", s.name, late, latePort),
		fmt.Sprintf("  %s: {command: [%q, -listen, \"127.0.0.1:1\"], workers: 1, grace: 1s}\n", other.name, s.worker),
		fmt.Sprintf("groups:\n  %s-api: {listen: \"127.0.0.1:%d\"}\n", s.name, ports[1]))
	other.says("listening on ")
	s.start().ready()
	s.has(s.port, 2)
	s.says(other.name + " is supervised by another process")
	s.says("no such command")
	s.says(fmt.Sprintf("group %s-api: ", s.name))
	s.says("; trying again in ")

	if out, errs, code := s.sockdistVerb("apply"); code != 1 || !strings.Contains(out, fmt.Sprintf("app %s-late: doesn't run, starts", s.name)) ||
		!strings.Contains(errs, fmt.Sprintf("app %s: ", other.name)) {
		t.Errorf("apply: exit code %d\n%s%s", code, out, errs)
	}
	for _, l := range taken {
		l.Close()
	}
	if err := os.Symlink(s.worker, late); err != nil {
		t.Fatal(err)
	}
	s.has(ports[0], 1)
	s.has(latePort, 1)
	until(t, "the group is open", func() bool { return s.groups()[s.name+"-api"].Spec.Name != "" })

	// A second daemon has nothing to do here.
	if _, errs, code := s.sockdistVerb("serve", "--config", s.file); code != 1 ||
		!strings.Contains(errs, fmt.Sprintf("another sockdist serve runs (process %d)", s.pid())) {
		t.Errorf("a second daemon: exit code %d, %s", code, errs)
	}
	// Nor has one with another runtime folder that wants the same socket.
	second := newServed(t)
	second.configure(fmt.Sprintf("socket: {path: %s}\nattach: {n: {address: \":1\"}}\n", filepath.Join(s.runtime, "control")))
	if _, errs, code := second.sockdistVerb("serve", "--config", second.file); code != 1 || !strings.Contains(errs, "somebody answers at "+filepath.Join(s.runtime, "control")) {
		t.Errorf("a second daemon at the socket: exit code %d, %s", code, errs)
	}
	// sockdist run doesn't take an app of the daemon.
	if _, errs, code := s.sockdistVerb("run", "--name", s.web(), "--take-over", "--", s.worker); code != 1 || !strings.Contains(errs, "take the app out of its configuration") {
		t.Errorf("run --take-over: exit code %d, %s", code, errs)
	}
	other.signal(unix.SIGTERM)
	other.exit()
}
