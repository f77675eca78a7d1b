package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/ledger"
	"github.com/sockdist/sockdist/internal/servers"
)

// Changes, reloads and kill -9 of the daemon in any order, some at any moment of
// a change, under load: no connection is lost, and in the end all is as the file
// says. SOCKDIST_LONG=1 does a hundred.
func TestServeChaos(t *testing.T) {
	together(t)
	s := newServed(t).recording(ledger.Go)
	api := servers.FreePort(t, nil)
	group := fmt.Sprintf("groups:\n  %s-api: {listen: \"127.0.0.1:%d\"}\n", s.name, api)
	now := chaosSettings{workers: 2, mark: "0", policy: "least", grace: 40}
	s.configure("apps:\n", s.chaos(now), group)
	s.start().ready()
	s.live()
	s.member(0, api, true)
	s.member(0, api, true)
	s.has(api, 2)
	s.hold(5, ledger.Held{})
	load := s.load(200, ledger.Held{})
	traffic := startTrafficAt(t, clients.Client{}, local(api), 100)

	turns := 16
	if long() {
		turns = 100
	}
	for turn := range turns {
		s.alter(&now, turn)
		s.configure("apps:\n", s.chaos(now), group)
		what := s.random.IntN(5)
		t.Logf("turn %d: %d, %+v", turn, what, now)
		switch what {
		case 0, 1:
			s.applies()
		case 2: // killed while it applies
			apply := exec.Command(s.sockdist, "--dir", s.pins, "apply")
			apply.Env = s.environment()
			if err := apply.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(s.random.IntN(300)) * time.Millisecond)
			s.app.kill()
			_ = apply.Wait() // it may have been done
			s.start().ready()
		case 3: // changed while there is none
			s.app.kill()
			s.start().ready()
		case 4: // an operator's reload at the same time
			reload := exec.Command(s.sockdist, "--dir", s.pins, "reload", s.web())
			reload.Env = s.environment()
			if err := reload.Start(); err != nil {
				t.Fatal(err)
			}
			s.applies()
			_ = reload.Wait() // another supervisor may have gone on with it
		}
	}
	s.configure("apps:\n", s.chaos(now), group)
	s.applies()
	s.expectSaid(s.applies(), "nothing has changed\n")
	s.has(s.port, now.workers)
	s.has(api, 2)
	if policy := s.group(s.port).Spec.Policy.String(); policy != now.policy {
		t.Errorf("the policy is %s, want %s", policy, now.policy)
	}
	for slot, pid := range s.pids(s.port) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil || !strings.Contains("\x00"+string(text), "\x00MARK="+now.mark+"\x00") {
			t.Errorf("worker %d (pid %d) hasn't the mark %s: %v", slot, pid, now.mark, err)
		}
	}
	s.finish(load)
	traffic.expectAnswered()
	s.workers = now.workers
	book, _ := s.settle()
	s.expectOnlyKilledLost(book)
	// Some may come to workers that leave, while none is ready: they are served.
	if group := s.group(s.port); group.MigrateFailed > 0 || group.Refused > 0 {
		t.Errorf("%d moves failed, %d connections were refused", group.MigrateFailed, group.Refused)
	}
}

// chaosSettings are those that change.
type chaosSettings struct {
	workers, grace int
	mark, policy   string
}

func (s *served) chaos(c chaosSettings) string {
	return s.webSettings(c.workers, "policy: "+c.policy, fmt.Sprintf("grace: %ds", c.grace), fmt.Sprintf("env: {MARK: \"%s\"}", c.mark))
}

// alter changes one thing, or several.
func (s *served) alter(c *chaosSettings, turn int) {
	for range 1 + s.random.IntN(2) {
		switch s.random.IntN(4) {
		case 0:
			c.workers = 1 + s.random.IntN(4)
		case 1:
			c.mark = fmt.Sprint(turn + 1)
		case 2:
			c.policy = []string{"least", "p2c", "rr", "random"}[s.random.IntN(4)]
		case 3:
			c.grace = 40 + s.random.IntN(4)
		}
	}
}
