package packaging

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/clients"
)

// service is one instance of the unit on a machine.
type service struct {
	*machine
	sockdist built
}

const (
	unit    = "sockdist@web.service"
	socket  = "sockdist@web.socket"
	tree    = "sockdist/web" // the workers' cgroups
	logFile = "/var/log/app"
)

var port = netip.MustParseAddrPort("127.0.0.1:3000")

// watchdog is after what silence systemd ends a process. It is much less than the
// unit says, and more than a virtual machine stands still at times: who had no
// chance to speak would be ended too.
const watchdog = 8 * time.Second

// installService installs everything as an operator would, but below /srv, as
// /usr is this machine's.
func installService(t *testing.T) *service {
	t.Helper()
	s := &service{sockdist: build(t)}
	s.machine = boot(t)
	s.install(s.sockdist.path, "/srv/sockdist")
	self, err := os.Executable()
	s.must(err)
	s.install(self, "/srv/server")

	texts, err := units()
	s.must(err)
	for name, text := range texts {
		text = strings.ReplaceAll(text, "/usr/bin/sockdist", "/srv/sockdist")
		if !s.sockdist.notifies {
			text = strings.NewReplacer("Type=notify\n", "Type=exec\n", "WatchdogSec=", "#").Replace(text)
		}
		s.write("/etc/systemd/system/"+name, text)
	}
	s.write("/etc/systemd/system/sockdist@.service.d/test.conf",
		fmt.Sprintf("[Service]\nStandardOutput=append:%s\nStandardError=append:%[1]s\n", logFile))
	s.configure("-n 2 --port 3000 --user www-data --grace 5s")
	s.run("systemctl", "daemon-reload")
	t.Cleanup(s.explain)
	return s
}

func (s *service) configure(options string) {
	s.Helper()
	s.write("/etc/sockdist/web.env",
		fmt.Sprintf("SOCKDIST_COMMAND=/srv/server\nSOCKDIST_OPTIONS=%s\n%s=%s\n", options, role, roleServer))
}

// explain shows what there is to see when a test has failed.
func (s *service) explain() {
	if !s.Failed() {
		return
	}
	status, _ := s.try("systemctl", "status", "--lines=0", unit)
	text, _ := os.ReadFile(s.path(logFile))
	s.Logf("%s\nlog:\n%s", status, text)
}

func (s *service) start() {
	s.Helper()
	s.run("systemctl", "start", unit)
	s.eventually("the app serves", s.serves)
}

func (s *service) serves() error {
	ledger := clients.Client{Ask: clients.Echo, In: s.ns, Timeout: patience}.Load(s.Context(), port, clients.Limits{Count: 1})
	if len(ledger.Lost()) > 0 || len(ledger) == 0 {
		return fmt.Errorf("%v", ledger)
	}
	return nil
}

// underLoad does something while connections come and go, and none may be lost.
func (s *service) underLoad(what func()) {
	s.Helper()
	ctx, end := context.WithCancel(s.Context())
	ledgers := make(chan clients.Ledger, 1)
	go func() {
		client := clients.Client{Ask: clients.Echo, In: s.ns, Timeout: patience}
		ledgers <- client.Load(ctx, port, clients.Limits{Count: 1_000_000, Duration: patience, Rate: 200})
	}()
	defer func() {
		end()
		ledger := <-ledgers
		s.Log(ledger)
		if len(ledger.Lost()) > 0 {
			s.Error("connections were lost")
		}
	}()
	time.Sleep(200 * time.Millisecond) // some before, and some after
	what()
	time.Sleep(200 * time.Millisecond)
}

// workers are the processes of the app, once there are as many.
func (s *service) workers(n int) (pids []string) {
	s.Helper()
	s.eventually(fmt.Sprintf("the app has %d workers", n), func() error {
		if pids = s.processes(tree + "/[0-9]*"); len(pids) != n {
			return fmt.Errorf("it has the processes %v", pids)
		}
		return nil
	})
	slices.Sort(pids)
	return pids
}

func (s *service) supervisor() string {
	s.Helper()
	return s.property(unit, "MainPID")
}

// replaced waits for another supervisor than this one.
func (s *service) replaced(old string) {
	s.Helper()
	s.eventually("there is another supervisor", func() error {
		if pid := s.supervisor(); pid == old || pid == "0" {
			return errors.New("not yet")
		}
		if state := s.property(unit, "ActiveState"); state != "active" {
			return fmt.Errorf("the unit is %s", state)
		}
		return nil
	})
}

// in says t in place of the test that the machine was made for.
func (s *service) in(t *testing.T) *service {
	m := *s.machine
	m.T = t
	return &service{machine: &m, sockdist: s.sockdist}
}

// need skips a test of what this sockdist can't.
func (s *service) need(verb string) {
	s.Helper()
	if !s.sockdist.has(verb) || !s.sockdist.notifies {
		s.Skipf("this sockdist has no %s yet, or doesn't talk with systemd", verb)
	}
}

// An app under a real systemd, from its start to its end. The parts follow one
// another on the same machine.
func TestUnit(t *testing.T) {
	t.Parallel()
	s := installService(t)
	s.start()
	s.workers(2)

	parts := []struct {
		name string
		do   func(*service)
	}{
		{"output", (*service).testOutput},
		{"rights", (*service).testRights},
		{"killed", (*service).testKilled},
		{"restarted", (*service).testRestarted},
		{"hangs", (*service).testHangs},
		{"reload", (*service).testReload},
		{"configured", (*service).testConfigured},
		{"manager replaced", (*service).testReexec},
		{"stopped", (*service).testStopped},
	}
	for _, part := range parts {
		if !t.Run(part.name, func(t *testing.T) { part.do(s.in(t)) }) {
			return // the next ones need what this one leaves
		}
	}
}

func (s *service) testOutput() {
	s.eventually("what the workers print is in the log", func() error {
		if text := s.read(logFile); strings.Count(text, "started") != 2 {
			return errors.New(text)
		}
		return nil
	})
}

// Workers are another user, with no capability, and what they are told to be.
func (s *service) testRights() {
	for _, pid := range s.workers(2) {
		status := s.run("cat", "/proc/"+pid+"/status")
		for _, want := range []string{"Uid:\t33\t33\t33\t33\n", "CapEff:\t0000000000000000\n", "NoNewPrivs:\t1\n"} {
			if !strings.Contains(status, want) {
				s.Errorf("worker %s isn't %q:\n%s", pid, want, status)
			}
		}
		if !s.sockdist.notifies {
			continue
		}
		environment := s.run("cat", "/proc/"+pid+"/environ")
		for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS"} {
			if strings.Contains("\x00"+environment, "\x00"+name+"=") {
				s.Errorf("worker %s has %s", pid, name)
			}
		}
	}
}

// kill -9 of the supervisor: systemd starts another one, with the same workers.
func (s *service) testKilled() {
	s.need("reload")
	workers, old := s.workers(2), s.supervisor()
	s.underLoad(func() {
		s.run("kill", "-9", old)
		s.replaced(old)
	})
	s.sameWorkers(workers)
}

func (s *service) sameWorkers(before []string) {
	s.Helper()
	if now := s.workers(len(before)); !slices.Equal(now, before) {
		s.Errorf("the workers were %v, they are %v", before, now)
	}
}

// What a package's upgrade does: the next sockdist has the workers of the last.
func (s *service) testRestarted() {
	s.need("reload")
	workers, old := s.workers(2), s.supervisor()
	s.underLoad(func() {
		s.run("systemctl", "restart", unit)
		s.replaced(old)
	})
	s.sameWorkers(workers)
}

// The watchdog ends a supervisor that hangs, and only that.
func (s *service) testHangs() {
	s.need("reload")
	s.write("/run/systemd/system/sockdist@.service.d/watchdog.conf", fmt.Sprintf("[Service]\nWatchdogSec=%v\n", watchdog))
	s.run("systemctl", "daemon-reload")
	s.run("systemctl", "restart", unit)
	s.eventually("the app serves", s.serves)

	workers, old := s.workers(2), s.supervisor()
	s.underLoad(func() {
		s.run("kill", "-STOP", old)
		s.replaced(old)
	})
	s.sameWorkers(workers)
}

func (s *service) testReload() {
	s.need("reload")
	before := s.workers(2)
	s.underLoad(func() { s.run("systemctl", "reload", unit) })
	for _, pid := range s.workers(2) {
		if slices.Contains(before, pid) {
			s.Errorf("worker %s is still there after the reload", pid)
		}
	}
	if state := s.property(unit, "ActiveState"); state != "active" {
		s.Errorf("after the reload, the unit is %s", state)
	}
}

// A changed file counts after a restart for sockdist, and after a reload for
// the workers.
func (s *service) testConfigured() {
	s.need("reload")
	s.configure("-n 3 --port 3000 --user www-data --grace 5s --env MARK=changed")
	old := s.supervisor()
	s.underLoad(func() {
		s.run("systemctl", "restart", unit)
		s.replaced(old)
		s.run("systemctl", "reload", unit)
	})
	for _, pid := range s.workers(3) {
		if environment := s.run("cat", "/proc/"+pid+"/environ"); !strings.Contains(environment, "\x00MARK=changed\x00") {
			s.Errorf("worker %s hasn't the changed environment", pid)
		}
	}
}

// systemd itself is upgraded: it hears of the app as before.
func (s *service) testReexec() {
	s.need("reload")
	workers, supervisor := s.workers(3), s.supervisor()
	s.underLoad(func() {
		s.run("systemctl", "daemon-reexec")
		s.eventually("systemd is back", func() error {
			_, err := s.try("systemctl", "is-active", unit)
			return err
		})
		time.Sleep(watchdog + time.Second) // longer than that of testHangs waits
	})
	s.sameWorkers(workers)
	if now := s.supervisor(); now != supervisor {
		s.Errorf("the supervisor was %s, it is %s", supervisor, now)
	}
}

// A stop leaves nothing.
func (s *service) testStopped() {
	begun := time.Now()
	s.run("systemctl", "stop", unit)
	s.Logf("stopped in %v", time.Since(begun).Round(time.Millisecond))
	if state := s.property(unit, "ActiveState"); state != "inactive" {
		s.Errorf("the unit is %s", state)
	}
	if text := s.read(logFile); strings.Count(text, "ended in order") < 2 {
		s.Errorf("not all workers ended in order:\n%s", text)
	}
	if left := s.processes("sockdist"); len(left) > 0 {
		s.Errorf("processes are left: %v", left)
	}
	if left := s.processes("system.slice/system-sockdist.slice"); len(left) > 0 {
		s.Errorf("processes of the unit are left: %v", left)
	}
	if _, err := os.Stat(s.path("/sys/fs/bpf/sockdist")); !errors.Is(err, os.ErrNotExist) {
		s.Errorf("pins are left: %v", err)
	}
}
