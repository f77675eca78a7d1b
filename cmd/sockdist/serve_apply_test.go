package main_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/ledger"
	"github.com/sockdist/sockdist/internal/servers"
)

// Every kind of change, one after the other, under load: none costs a
// connection, and nothing changes but what was changed.
func TestServeApply(t *testing.T) {
	together(t)
	s := newServed(t).recording(ledger.Go)
	s.configure("apps:\n", s.webSettings(2))
	s.start().ready()
	s.live()
	s.hold(10, ledger.Held{})
	load := s.load(crashes().rate, ledger.Held{})
	name := s.web()

	s.expectSaid(s.applies(), "nothing has changed\n")
	first := s.pids(s.port)

	s.configure("apps:\n", s.webSettings(4))
	s.expectSaid(s.applies(), "app "+name+": workers changed: it is scaled\napp "+name+": from 2 workers to 4\n")
	s.live()
	four := s.pids(s.port)
	if four[0] != first[0] || four[1] != first[1] {
		t.Errorf("the workers were %v, they are %v", first, four)
	}

	s.configure("apps:\n", s.webSettings(4, "grace: 40s", "hang-after: 2s"))
	s.expectSaid(s.applies(), "app "+name+": grace, hang-after changed: its workers stay\n")
	if now := s.pids(s.port); !maps.Equal(now, four) {
		t.Errorf("after another grace the workers were %v, they are %v", four, now)
	}

	s.configure("apps:\n", s.webSettings(4, "grace: 40s", "hang-after: 2s", "policy: rr"))
	s.expectSaid(s.applies(), "app "+name+": policy changed: its groups get the policy\n")
	if policy := s.group(s.port).Spec.Policy.String(); policy != "rr" {
		t.Errorf("the policy is %s", policy)
	}

	settings := []string{"grace: 40s", "hang-after: 2s", "policy: rr", "env: {MARK: changed}"}
	s.configure("apps:\n", s.webSettings(4, settings...))
	s.expectSaid(s.applies(), "app "+name+": env changed: its workers are replaced one after the other\n")
	s.expectMarked(4, four)
	marked := s.pids(s.port)

	s.refuseBadFiles(marked, settings)

	s.workers = 4
	s.configure("apps:\n", s.webSettings(3, settings...))
	s.signal(unix.SIGHUP)
	s.live()

	s.finish(load)
	book, _ := s.settle()
	s.expectOnlyKilledLost(book)
	s.expectNoneRefused()
}

// expectMarked checks that all live workers have the new environment, and none is
// an old one.
func (s *served) expectMarked(n int, old map[int]int) {
	s.t.Helper()
	s.has(s.port, n)
	for slot, pid := range s.pids(s.port) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil || !strings.Contains("\x00"+string(text), "\x00MARK=changed\x00") {
			s.t.Errorf("worker %d (pid %d) hasn't the changed environment: %v", slot, pid, err)
		}
		if slices.Contains(slices.Collect(maps.Values(old)), pid) {
			s.t.Errorf("worker %d (pid %d) is an old one", slot, pid)
		}
	}
}

// refuseBadFiles: a file that is wrong changes nothing, and a version that
// doesn't start leaves the one that runs.
func (s *served) refuseBadFiles(pids map[int]int, settings []string) {
	s.t.Helper()
	s.configure("apps:\n", s.webSettings(7, append(settings, "colour: red", "grace: long")...))
	s.fails(s.file + ":10:5: apps." + s.web() + ".colour: there is no such key")
	s.fails(s.file + ":11:5: apps." + s.web() + ".grace: is here for the second time")
	s.configure("")
	s.fails("the file is empty")
	if err := os.Remove(s.file); err != nil {
		s.t.Fatal(err)
	}
	s.fails("no such file")

	broken := append(settings[:3:3], "env: {LEDGER_FAIL: \"1\"}")
	s.configure("apps:\n", s.webSettings(4, broken...))
	s.fails("doesn't get ready: it exited with status 1\n    ")
	s.fails("ledger server: told to fail")
	missing := s.webs
	s.webs = []string{"/no/such/program"}
	s.configure("apps:\n", s.webSettings(4, settings...))
	s.webs = missing
	s.fails("no such command")

	s.has(s.port, 4)
	if now := s.pids(s.port); !maps.Equal(now, pids) {
		s.t.Errorf("the workers were %v, they are %v", pids, now)
	}
	s.configure("apps:\n", s.webSettings(4, settings...))
	s.expectSaid(s.applies(), "nothing has changed\n")
	// Who dies starts again by the settings that hold.
	pid := s.victim()
	k, err := ledger.KillWorker(pid)
	if err != nil {
		s.t.Fatal(err)
	}
	s.kills = append(s.kills, k)
	s.replaced(pid)
	s.expectMarked(4, nil)
}

// Apps, groups and attachments come, change and go.
func TestServeComings(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	s.webs = []string{s.worker, "-listen", fmt.Sprint("127.0.0.1:", s.port)}
	other, api, att := servers.FreePort(t, nil), servers.FreePort(t, nil), servers.FreePort(t, nil)
	web := s.webSettings(2, "grace: 2s")
	web = strings.Replace(web, fmt.Sprintf(", \"%d\"]", s.port), "]", 1)
	s.configure("apps:\n", web)
	s.start().ready()
	s.has(s.port, 2)
	traffic := startTraffic(t, clients.Client{}, local(s.port))

	more := fmt.Sprintf("  %s-b:\n    command: [%q, -listen, \"127.0.0.1:%d\"]\n    workers: 1\n    grace: 1s\n", s.name, s.worker, other)
	group := fmt.Sprintf("groups:\n  %s-api: {listen: \"127.0.0.1:%d\", slots: 2}\n", s.name, api)
	attach := fmt.Sprintf("attach:\n  %s-att: {address: \"127.0.0.1:%d\"}\n", s.name, att)
	s.configure("apps:\n", web, more, group, attach)
	s.expectSaid(s.applies(), fmt.Sprintf("group %s-api: new, at 127.0.0.1:%d\nattach %[1]s-att: new, at 127.0.0.1:%[3]d\napp %[1]s-b: new, starts\n", s.name, api, att))
	s.has(other, 1)
	s.member(0, api, true)
	s.member(0, att, false)
	s.member(0, att, false)
	s.has(api, 1)
	s.has(att, 2)
	for _, want := range []string{s.name + "-api ", s.name + "-att ", fmt.Sprintf("%s-b-%d ", s.name, other), fmt.Sprintf("%s-%d ", s.name, s.port)} {
		if text := s.verb("status"); !strings.Contains(text, want) {
			t.Errorf("status has no %q:\n%s", want, text)
		}
	}

	s.configure("apps:\n", web, more, strings.Replace(group, "slots: 2", "slots: 3, policy: rr", 1), strings.Replace(attach, "}", ", policy: p2c}", 1))
	s.expectSaid(s.applies(), fmt.Sprintf("group %s-api: changed\nattach %[1]s-att: changed\n", s.name))
	if policy := s.group(api).Spec.Policy.String(); policy != "rr" {
		t.Errorf("the policy of the group is %s", policy)
	}
	until(t, "the attachment's policy is p2c", func() bool { return s.group(att).Spec.Policy.String() == "p2c" })

	// Other ports: ended, and anew.
	third := servers.FreePort(t, nil)
	s.configure("apps:\n", web, strings.Replace(more, fmt.Sprint(other), fmt.Sprint(third), 1), indentPorts(third))
	s.expectSaid(s.applies(), fmt.Sprintf("group %s-api: removed, its workers serve on by the kernel's hash\nattach %[1]s-att: detached\n"+
		"app %[1]s-b: command, ports changed: it ends\napp %[1]s-b: starts anew\n", s.name))
	s.has(third, 1)
	for _, g := range s.groups() {
		if port := int(g.Spec.Address.Port()); port != s.port && port != third {
			t.Errorf("group %s is left", g.Spec.Name)
		}
	}
	s.configure("apps:\n", web)
	s.expectSaid(s.applies(), fmt.Sprintf("app %s-b: ends\n", s.name))
	if _, err := os.Stat(s.cgroup() + "-b"); err == nil {
		t.Error("the cgroup of the other app is left")
	}
	traffic.expectAnswered()
}

func indentPorts(port int) string { return fmt.Sprintf("    ports: [%d]\n", port) }
