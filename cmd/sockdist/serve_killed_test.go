package main_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/ledger"
	"github.com/sockdist/sockdist/internal/servers"
)

// kill -9 of the daemon, again and again under load of an app, a group and an
// attachment: the next one takes all of them over, and no connection is lost.
func TestServeKilled(t *testing.T) {
	together(t)
	s := newServed(t).recording(ledger.Go)
	api, att := servers.FreePort(t, nil), servers.FreePort(t, nil)
	others := fmt.Sprintf("groups:\n  %s-api: {listen: \"127.0.0.1:%d\", users: [nobody]}\nattach:\n  %[1]s-att: {address: \"127.0.0.1:%[3]d\"}\n", s.name, api, att)
	s.configure("socket: {mode: \"0666\"}\napps:\n", s.webSettings(2), others)
	s.start().ready()
	s.live()
	for range 2 {
		s.member(nobody, api, true)
		s.member(0, att, false)
	}
	s.has(api, 2)
	s.has(att, 2)
	s.hold(10, ledger.Held{})
	load := s.load(crashes().rate, ledger.Held{})
	ofAPI, ofAtt := startTraffic(t, clients.Client{}, local(api)), startTraffic(t, clients.Client{}, local(att))

	var before map[int]int
	for range crashes().turns {
		before = s.pids(s.port)
		members, attached := s.pids(api), s.pids(att)
		s.app.kill()
		s.start().ready()
		s.says(`msg="took over 2 workers`)
		s.has(api, 2)
		for port, was := range map[int]map[int]int{s.port: before, api: members, att: attached} {
			if now := s.pids(port); !maps.Equal(now, was) {
				t.Errorf("at port %d the slots were of %v, they are of %v", port, was, now)
			}
		}
	}

	// What was changed while there was no daemon, the next one does.
	s.app.kill()
	s.configure("socket: {mode: \"0666\"}\napps:\n", s.webSettings(3, "env: {MARK: changed}"), others)
	s.start().ready()
	until(t, "the workers are new ones", func() bool {
		now := s.pids(s.port)
		for _, pid := range before {
			for _, other := range now {
				if pid == other {
					return false
				}
			}
		}
		return len(now) == 3
	})
	s.expectMarked(3, before)

	s.finish(load)
	ofAPI.expectAnswered()
	ofAtt.expectAnswered()
	book, _ := s.settle()
	s.expectOnlyKilledLost(book)
	s.expectNoneRefused()
}

// What is configured no more when the next daemon starts, it ends.
func TestServeKilledAndLess(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	web, api := s.bareWeb(1), servers.FreePort(t, nil)
	group := fmt.Sprintf("groups:\n  %s-api: {listen: \"127.0.0.1:%d\"}\n", s.name, api)
	s.configure("apps:\n", web, group)
	s.start().ready()
	s.has(s.port, 1)
	s.app.kill()
	second := servers.FreePort(t, nil)
	s.configure(fmt.Sprintf("groups:\n  %s-second: {listen: \"127.0.0.1:%d\"}\n", s.name, second))
	s.start().ready()
	if groups := s.groups(); len(groups) != 1 || groups[s.name+"-second"].Spec.Name == "" {
		t.Errorf("the groups are %v", groups)
	}
	if left := s.app.workers(); len(left) > 0 {
		t.Errorf("workers are left: %v", left)
	}
}

// The same while the first workers are being started.
func TestServeKilledAtStart(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	s.configure("apps:\n", s.bareWeb(16, "grace: 1s"))
	s.start()
	until(t, "a worker runs", func() bool { return len(s.app.workers()) > 0 })
	s.app.kill()
	s.configure(fmt.Sprintf("groups:\n  %s-second: {listen: \"127.0.0.1:%d\"}\n", s.name, servers.FreePort(t, nil)))
	s.start().ready()
	if left := s.app.workers(); len(left) > 0 {
		t.Errorf("workers are left: %v", left)
	}
}

// What was changed while there was no daemon doesn't get in the way of an apply
// that comes while the next one is still about it: also not of one by which
// nothing has changed after all.
func TestServeAppliesAtStart(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	web := s.bareWeb(2, "env: {MARK: changed}")
	s.configure("apps:\n", web)
	s.start().ready()
	s.has(s.port, 2)
	for round := range 6 {
		before := s.pids(s.port)
		s.app.kill()
		s.configure("apps:\n", s.bareWeb(3, fmt.Sprintf("grace: %ds", 5+round), "policy: rr"))
		s.startsAnew()
		if round%2 == 0 {
			web = s.bareWeb(2, fmt.Sprint("env: {MARK: changed, ROUND: ", round, "}"))
		} else {
			before = nil // they may stay
		}
		s.configure("apps:\n", web)
		s.applies()
		s.expectMarked(2, before)
		s.expectSaid(s.applies(), "nothing has changed\n")
		time.Sleep(200 * time.Millisecond) // nobody makes it as it was before
		if n, policy := len(s.pids(s.port)), s.group(s.port).Spec.Policy.String(); n != 2 || policy != "least" {
			t.Errorf("round %d: %d workers, %s", round, n, policy)
		}
	}
}

// startsAnew starts a daemon after one that was killed, and returns when it has
// read its file.
func (s *served) startsAnew() {
	s.t.Helper()
	socket := filepath.Join(s.runtime, "control")
	if err := os.Remove(socket); err != nil {
		s.t.Fatal(err)
	}
	s.start()
	until(s.t, "the daemon has read its file", func() bool { _, err := os.Stat(socket); return err == nil })
}

// SIGTERM ends apps and leaves the rest steered, for the next daemon.
func TestServeEnds(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	s.webs = []string{s.worker, "-listen"}
	api := servers.FreePort(t, nil)
	web := strings.Replace(s.webSettings(2, "grace: 2s"), fmt.Sprintf("\"%d\"]", s.port), fmt.Sprintf("\"127.0.0.1:%d\"]", s.port), 1)
	s.configure("apps:\n", web, fmt.Sprintf("groups:\n  %s-api: {listen: \"127.0.0.1:%d\"}\n", s.name, api))
	s.start().ready()
	s.has(s.port, 2)
	s.member(0, api, true)
	s.has(api, 1)
	traffic := startTraffic(t, clients.Client{}, local(api))
	held := clients.Hold(t, local(s.port), 4)
	s.signal(unix.SIGTERM)
	s.says("waiting up to 2s for 4 connections")
	for _, c := range held {
		c.Close()
	}
	if code := s.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if left := s.app.workers(); len(left) > 0 {
		t.Errorf("workers are left: %v", left)
	}
	s.has(api, 1)
	s.start().ready()
	s.has(s.port, 2)
	s.has(api, 1)
	traffic.expectAnswered()
}
