package main_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/loader"
)

// patience bounds every wait. It is no claim about speed.
const patience = 40 * time.Second

// setup says how to start sockdist run. The zero setup has no flags.
type setup struct {
	flags []string
	env   []string
	// again: under the name and with the pins of an earlier app of the test,
	// whose end then checks that nothing is left.
	again *app
	// beside: with the pins of another app.
	beside *app
	// runtime is the folder of state files and control sockets; "": the app's own.
	runtime string
	under   []string          // a command that starts sockdist
	wrapper []string          // a command that starts each worker
	in      *netns.Namespace  // nil: the test's own
	prepare func(a *exec.Cmd) // changes it before it is started
}

// flags splits a command line at blanks.
func flags(line string) setup { return setup{flags: strings.Fields(line)} }

// app is a sockdist run that was started. It ends with its test, which fails
// if then anything is left of it.
type app struct {
	t    testing.TB
	name string
	pins string // folder
	// runtime is the folder in which the app has one for its state.
	runtime string
	// isAgain: an earlier app has the name and the pins too.
	isAgain bool
	// isBeside: another app has pins in the same folder.
	isBeside bool
	programs

	cmd         *exec.Cmd
	output, log *os.File // its standard output and standard error
	ended       chan struct{}
}

var appNumber atomic.Int64

// start starts sockdist run. The word "worker" as the command stands for
// testdata/worker.
func (s setup) start(t testing.TB, command ...string) *app {
	t.Helper()
	a := &app{t: t, programs: needPrograms(t), ended: make(chan struct{})}
	if s.again != nil {
		a.name, a.pins, a.runtime, a.isAgain = s.again.name, s.again.pins, s.again.runtime, true
	} else {
		n := appNumber.Add(1)
		a.name = fmt.Sprintf("%s-%d", prefix, n)
		a.pins = filepath.Join(a.bpffs, a.name)
		// A socket's path has room for 107 letters.
		a.runtime = filepath.Join(filepath.Dir(a.sockdist), fmt.Sprint("runtime-", n))
	}
	if s.beside != nil {
		a.pins, a.runtime, a.isBeside = s.beside.pins, s.beside.runtime, true
	}
	if s.runtime != "" {
		a.runtime = s.runtime
	}
	if command[0] == "worker" {
		command[0] = a.worker
	}
	args := append(s.under, a.sockdist, "--dir", a.pins, "run", "--name", a.name)
	args = append(append(append(append(args, s.flags...), "--"), s.wrapper...), command...)
	a.cmd = exec.Command(args[0], args[1:]...)
	a.cmd.Env = append(append(a.environment(), marker+"="+a.name), s.env...)
	a.output, a.log = outputFile(t), outputFile(t)
	a.cmd.Stdout, a.cmd.Stderr = a.output, a.log
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if s.prepare != nil {
		s.prepare(a.cmd)
	}
	a.fork(s.in)
	return a
}

// environment is the test's own, but for the second that a binary which looks
// for races sleeps at its end.
func environment() []string {
	return append(os.Environ(), "GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
}

// environment has the app's runtime folder.
func (a *app) environment() []string {
	return append(environment(), "SOCKDIST_RUNTIME_DIR="+a.runtime)
}

func (a *app) fork(in *netns.Namespace) {
	a.t.Helper()
	start := a.cmd.Start
	if in != nil {
		start = func() error { return in.Do(a.cmd.Start) }
	}
	if err := start(); err != nil {
		a.t.Fatal(err)
	}
	go func() {
		_ = a.cmd.Wait() // the state tells
		close(a.ended)
	}()
	a.t.Cleanup(a.cleanUp)
}

// outputFile takes what a process prints. With a pipe, the end would have to
// wait for the last of its writers.
func outputFile(t testing.TB) *os.File {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "output")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

func read(f *os.File) string {
	text, err := os.ReadFile(f.Name())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// until waits for something to become true.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// says waits until sockdist has said something. A newline at the beginning of
// the text is the start of a line.
func (a *app) says(text string) {
	a.t.Helper()
	until(a.t, fmt.Sprintf("sockdist says %q", text), func() bool { return strings.Contains("\n"+read(a.log), text) })
}

// prints waits until a worker has printed something, likewise.
func (a *app) prints(text string) {
	a.t.Helper()
	until(a.t, fmt.Sprintf("a worker prints %q", text), func() bool { return strings.Contains("\n"+read(a.output), text) })
}

// serves waits until n workers share a port. It must be all of them.
func (a *app) serves(port, n int) *app {
	a.t.Helper()
	line := regexp.MustCompile(fmt.Sprintf(`listening on \S*:%d with %d workers? `, port, n))
	until(a.t, line.String(), func() bool { return a.hasEnded() || line.MatchString(read(a.log)) })
	if a.hasEnded() {
		a.t.Fatalf("it ended: %v", a.cmd.ProcessState)
	}
	return a
}

func (a *app) hasEnded() bool {
	select {
	case <-a.ended:
		return true
	default:
		return false
	}
}

// exit waits for the end and returns the exit code, -1 for a signal.
func (a *app) exit() int {
	a.t.Helper()
	select {
	case <-a.ended:
		return a.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		a.t.Fatalf("it doesn't end within %v", patience)
		return 0
	}
}

func (a *app) signal(s syscall.Signal) {
	a.t.Helper()
	if err := a.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		a.t.Fatalf("send %v: %v", s, err)
	}
}

// kill is a kill -9 of sockdist itself.
func (a *app) kill() {
	a.t.Helper()
	a.signal(unix.SIGKILL)
	a.exit()
}

// pid is that of the sockdist process.
func (a *app) pid() int { return a.cmd.Process.Pid }

// local is where clients of this machine find a port.
func local(port int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))
}

// groups are all of the app's groups, by name.
func (a *app) groups() map[string]loader.Snapshot {
	a.t.Helper()
	host, err := loader.Open(loader.Options{Dir: a.pins})
	if err != nil {
		a.t.Fatal(err)
	}
	names, err := host.Groups()
	if err != nil {
		a.t.Fatal(err)
	}
	groups := make(map[string]loader.Snapshot)
	for _, name := range names {
		g, err := host.Group(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was removed since the names were read
		}
		if err != nil {
			a.t.Fatal(err)
		}
		snapshot, err := g.Snapshot()
		g.Close()
		if err != nil {
			a.t.Fatal(err)
		}
		groups[name] = snapshot
	}
	return groups
}

// group is the app's only group at a port.
func (a *app) group(port int) loader.Snapshot {
	a.t.Helper()
	var found []loader.Snapshot
	for _, s := range a.groups() {
		if int(s.Spec.Address.Port()) == port {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		a.t.Fatalf("%d groups at port %d, want one: %v", len(found), port, a.groups())
	}
	return found[0]
}

// slot is one slot of the group at a port.
func (a *app) slot(port, slot int) loader.Slot {
	a.t.Helper()
	group := a.group(port)
	for _, s := range group.Slots {
		if s.Slot == slot {
			return s
		}
	}
	a.t.Fatalf("no slot %d in %+v", slot, group)
	return loader.Slot{}
}

// verb runs another verb of sockdist, which must succeed.
func (a *app) verb(args ...string) string {
	a.t.Helper()
	out, errs, code := a.sockdistVerb(args...)
	if code != 0 {
		a.t.Fatalf("sockdist %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

func (a *app) sockdistVerb(args ...string) (out, errs string, code int) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, a.sockdist, append([]string{"--dir", a.pins}, args...)...)
	cmd.Env = a.environment()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		a.t.Fatal(err)
	}
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}
