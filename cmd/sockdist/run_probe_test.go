package main_test

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/servers"
)

// Each slot answers a probe as itself, under load and whatever holds it back; and
// where there is nobody to answer, one line says so.
func TestProbe(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	port, other := servers.FreePort(t, nil), servers.FreePort(t, nil)
	a := flags("-n 3 --hang-after 300ms --on-hang eject").start(t, "worker", "-listen", fmt.Sprint(":", port), "-listen", fmt.Sprint("127.0.0.1:", other))
	s := sharing{a.serves(port, 3).serves(other, 3), port, 8}
	load := startTraffic(t, clients.Client{}, local(port))
	s.answersProbes(port, other)
	s.verb("drain", s.name+"/1")
	s.answersProbes(port, other)
	load.expectAnswered()
	s.idle(port)

	// What probes count as is what any connection counts as: nothing is left.
	for _, slot := range s.group(port).Slots {
		if slot.Connections+slot.Pending != 0 {
			t.Errorf("after the probes: %+v", slot)
		}
	}

	s.ejectAndProbe(port)
	for _, c := range []struct {
		code int
		args []string
		says string
	}{
		{2, []string{s.name}, "NAME/SLOT"},
		{2, []string{s.name + "/256"}, "NAME/SLOT"},
		{2, []string{s.name + "/1", "localhost"}, "is no URL"},
		{2, []string{s.name + "/1", "ftp://localhost/"}, "is no URL"},
		{2, []string{s.name + "/1", "--timeout", "0s"}, "--timeout"},
		{1, []string{s.name + "/9"}, "slot 9"},
		{1, []string{s.name + "/9", url(port)}, "slot 9"},
		{1, []string{"nobody/0"}, "nobody"},
		{1, []string{s.name + "/1", "http://localhost:1/"}, "port 1"},
		{1, []string{s.name + "/1", fmt.Sprintf("https://localhost:%d/", port)}, "http"},
	} {
		errs := s.refused(c.code, append([]string{"probe"}, c.args...)...)
		if expectSaid(t, errs, c.says); strings.Count(errs, "\n") != 1 {
			t.Errorf("probe %v says %q, want one line", c.args, errs)
		}
	}
}

func url(port int) string { return fmt.Sprintf("http://localhost:%d/", port) }

func (s sharing) answersProbes(ports ...int) {
	s.t.Helper()
	for _, port := range ports {
		for slot, pid := range s.pids(port) {
			want := fmt.Sprintln(pid, slot)
			for range 3 {
				if got := s.verb("probe", fmt.Sprint(s.name, "/", slot), url(port)); got != want {
					s.t.Errorf("slot %d at port %d answers %q, want %q", slot, port, got, want)
				}
			}
			expectSaid(s.t, s.verb("probe", fmt.Sprintf("%s-%d/%d", s.name, port, slot)), fmt.Sprintf("%s-%d/%d: connected in ", s.name, port, slot))
		}
	}
}

// ejectAndProbe stops worker 2, with connections that wait for it. A probe of it
// connects, as the kernel does that.
func (s sharing) ejectAndProbe(port int) {
	s.t.Helper()
	pid := s.slot(port, 2).PID
	stopProcess(s.t, pid)
	load := startTraffic(s.t, clients.Client{}, local(port))
	until(s.t, "worker 2 is ejected", func() bool { return s.slot(port, 2).State.String() == "ejected" })
	expectSaid(s.t, s.verb("probe", s.name+"/2"), "/2: connected in ")
	if err := unix.Kill(pid, unix.SIGCONT); err != nil {
		s.t.Fatal(err)
	}
	until(s.t, "worker 2 is live again", func() bool { return s.slot(port, 2).State.String() == "live" })
	load.expectAnswered()
}

// A worker answers --ready before it gets any other connection, however long
// that takes, and of a reload too.
func TestReady(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	port := servers.FreePort(t, nil)
	for name, ready := range map[string]string{
		"path":        "/health",
		"URL":         "http://example.com/health",
		"with a port": fmt.Sprintf("http://localhost:%d/health", port),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := port
			if name != "with a port" {
				port = servers.FreePort(t, nil)
			}
			a := flags("-n 2 --ready "+ready).start(t, "worker", "-accepts", "-chatty", "-listen", fmt.Sprint(":", port)).serves(port, 2)
			before := a.settled(port, 2)
			load := startTraffic(t, clients.Client{}, local(port))
			a.verb("reload", a.name)
			expectReplaced(t, before, a.settled(port, 2))
			load.expectAnswered()
		})
	}
}

// Workers that never get ready, since --ready asks for what isn't there, are
// told of.
func TestReadyAsksForNothingThatIsThere(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	for name, c := range map[string]struct{ ready, worker, says string }{
		"wrong port": {"http://localhost:1/", "", "doesn't answer --ready (the worker doesn't listen there)"},
		"sick":       {"/", "-status=500", "500 Internal Server Error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := servers.FreePort(t, nil)
			command := []string{"worker", "-listen", fmt.Sprint(":", port)}
			if c.worker != "" {
				command = append(command, c.worker)
			}
			a := flags("-n 2 --ready "+c.ready).start(t, command...)
			a.says(c.says)
		})
	}
	for _, wrong := range []string{"health", "ftp://x/", "http://localhost:0/", "http://localhost:99999/", "http://"} {
		a := flags("--ready "+wrong).start(t, "worker")
		if code := a.exit(); code != 2 {
			t.Errorf("--ready %s: exit code %d, want 2", wrong, code)
		}
		if text := lastError(t, a); strings.Count(text, "\n") != 1 {
			t.Errorf("--ready %s: says %q, want one line", wrong, text)
		}
	}
}
