package main_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/ledger"
	"github.com/sockdist/sockdist/internal/servers"
)

// served is a sockdist serve that was started. Its app web, if there is one, has
// clients that keep the books.
type served struct {
	*booked
	file  string
	webs  []string // the command of web, without the port
	extra []string // environment
}

// web is the name of the app of which the books are kept.
func (s *served) web() string { return s.name }

// newServed makes one of a test, with a folder and a port for web. It has not
// begun.
func newServed(t testing.TB) *served {
	t.Helper()
	s := &served{booked: &booked{app: &app{t: t, programs: needPrograms(t)}}}
	n := appNumber.Add(1)
	s.name = fmt.Sprintf("%s-%d", prefix, n)
	s.pins = filepath.Join(s.bpffs, s.name)
	s.runtime = filepath.Join(filepath.Dir(s.sockdist), fmt.Sprint("runtime-", n))
	s.file = filepath.Join(t.TempDir(), "sockdist.yaml")
	s.port, s.records, s.seed, s.numbers = servers.FreePort(t, nil), t.TempDir(), seed(t), 1
	s.random = rand.New(rand.NewPCG(s.seed, 0))
	return s
}

// recording has web be a server that records.
func (s *served) recording(server ledger.Server) *served {
	s.t.Helper()
	command, err := server.Install(s.t.TempDir())
	if err != nil {
		s.t.Fatal(err)
	}
	s.webs = command
	return s
}

// webSettings are those of web in YAML, with lines of settings.
func (s *served) webSettings(workers int, lines ...string) string {
	command := append(append([]string{}, s.webs...), fmt.Sprint(s.port))
	for i, word := range command {
		command[i] = fmt.Sprintf("%q", word)
	}
	s.workers = workers
	return fmt.Sprintf("  %s:\n    command: [%s]\n    workers: %d\n    ports: [%d]\n", s.web(), strings.Join(command, ", "), workers, s.port) +
		indent(lines)
}

func indent(lines []string) (text string) {
	for _, line := range lines {
		text += "    " + line + "\n"
	}
	return text
}

// configure writes the file.
func (s *served) configure(parts ...string) {
	s.t.Helper()
	if err := os.WriteFile(s.file, []byte(strings.Join(parts, "")), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// start starts the daemon, also another one after the first.
func (s *served) start() *served {
	s.t.Helper()
	again := s.cmd != nil
	before := s.app
	s.app = &app{t: before.t, name: before.name, pins: before.pins, runtime: before.runtime, programs: before.programs,
		isAgain: again, ended: make(chan struct{})}
	s.cmd = exec.Command(s.sockdist, "--dir", s.pins, "serve", "--config", s.file)
	s.cmd.Env = append(append(s.environment(), marker+"="+s.name, ledger.FolderVariable+"="+s.records), s.extra...)
	s.output, s.log = outputFile(s.t), outputFile(s.t)
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.fork(nil)
	s.t.Cleanup(s.app.endServed)
	return s
}

// endServed ends the daemon and what it leaves steered, which is its groups and
// attachments.
func (a *app) endServed() {
	a.end()
	if _, errs, code := a.sockdistVerb("detach", "--all"); code != 0 {
		a.t.Errorf("detach: %s", errs)
	}
	_ = os.RemoveAll(a.runtime)
}

// ready waits until it says that all serves.
func (s *served) ready() *served {
	s.t.Helper()
	until(s.t, "the daemon serves", func() bool { return s.hasEnded() || strings.Contains(read(s.log), `msg="serving: `) })
	if s.hasEnded() {
		s.t.Fatalf("it ended: %v", s.cmd.ProcessState)
	}
	return s
}

// applies has the daemon apply its file, which must work, and returns what it said.
func (s *served) applies() string {
	s.t.Helper()
	out, errs, code := s.sockdistVerb("apply")
	if code != 0 {
		s.t.Fatalf("apply: exit code %d\n%s%s", code, out, errs)
	}
	return out
}

// fails has it apply what can't be.
func (s *served) fails(want string) {
	s.t.Helper()
	if out, errs, code := s.sockdistVerb("apply"); code != 1 || !strings.Contains(errs, want) {
		s.t.Errorf("apply: exit code %d\n%s%s\nwant 1, and %q", code, out, errs, want)
	}
}

// expectSaid compares what an apply said with what it should have begun with.
func (s *served) expectSaid(said, want string) {
	s.t.Helper()
	if !strings.HasPrefix(said, want) {
		s.t.Errorf("apply says\n%swant\n%s", said, want)
	}
}

// pids are those of the live workers, by slot.
func (s *served) pids(port int) map[int]int {
	s.t.Helper()
	pids := make(map[int]int)
	for _, slot := range s.group(port).Slots {
		if slot.State.String() == "live" {
			pids[slot.Slot] = slot.PID
		}
	}
	return pids
}

// buildMember builds testdata/member once a test run.
var buildMember = sync.OnceValues(func() (string, error) {
	p, err := findPrograms()
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(p.sockdist), "member")
	return path, build(path, "testdata/member/main.go")
})

// member starts a library worker of a user. With joins it knows of the daemon;
// else it is a server that shares its port.
func (s *served) member(uid uint32, port int, joins bool) *exec.Cmd {
	s.t.Helper()
	path, err := buildMember()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(path, fmt.Sprintf("127.0.0.1:%d", port))
	cmd.Env = append(environment(), marker+"="+s.name)
	if joins {
		cmd.Env = append(cmd.Env, "SOCKDIST_SOCKET="+filepath.Join(s.runtime, "control"))
	}
	output := outputFile(s.t)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(unix.SIGKILL)
		<-ended
		if s.t.Failed() {
			s.t.Logf("member %d said:\n%s", cmd.Process.Pid, read(output))
		}
	})
	until(s.t, "the member listens", func() bool { return strings.Contains(read(output), "listening ") })
	return cmd
}

// has waits until a port has so many live slots.
func (s *served) has(port, slots int) {
	s.t.Helper()
	until(s.t, fmt.Sprintf("port %d has %d live slots", port, slots), func() bool {
		live := 0
		for _, g := range s.groups() {
			if int(g.Spec.Address.Port()) != port {
				continue
			}
			for _, slot := range g.Slots {
				if slot.State.String() == "live" {
					live++
				}
			}
		}
		return live == slots
	})
}
