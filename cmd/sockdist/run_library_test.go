package main_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/ledger"
	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/internal/servers"
	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/wire"
)

// needLibworker builds testdata/libworker, beside the other programs.
func needLibworker(t testing.TB) (path string) {
	t.Helper()
	dir := filepath.Dir(needPrograms(t).sockdist)
	libworker.Do(func() { libworkerFailed = build(filepath.Join(dir, "libworker"), "./testdata/libworker") })
	if libworkerFailed != nil {
		t.Fatal(libworkerFailed)
	}
	return filepath.Join(dir, "libworker")
}

var (
	libworker       sync.Once
	libworkerFailed error
)

// kinds has a shell start another server in each slot: the words of a command,
// by slot. The last one is for all further slots.
func kinds(commands ...string) []string {
	var cases strings.Builder
	for slot, command := range commands[:len(commands)-1] {
		fmt.Fprintf(&cases, "%d) exec %s;; ", slot, command)
	}
	return []string{"sh", "-c", fmt.Sprintf("case $SOCKDIST_SLOT in %s*) exec %s;; esac", cases.String(), commands[len(commands)-1])}
}

// report has the worker in a slot report its load.
func (a *app) report(port, slot int, load uint64) {
	a.t.Helper()
	a.reports(port, slot)
	if err := unix.Kill(a.slot(port, slot).PID, unix.SIGUSR1); err != nil {
		a.t.Fatal(err)
	}
	until(a.t, fmt.Sprintf("slot %d has a load of %d", slot, load), func() bool { return a.slot(port, slot).Load == load })
}

// reports waits until the worker in a slot has a heartbeat there.
func (a *app) reports(port, slot int) {
	a.t.Helper()
	before := a.slot(port, slot)
	until(a.t, fmt.Sprintf("slot %d has a heartbeat", slot), func() bool {
		s := a.slot(port, slot)
		return s.Beat != 0 && s.Beat != before.Beat
	})
}

// expectConnections compares what slots have.
func (a *app) expectConnections(port int, want ...uint64) {
	a.t.Helper()
	for slot, n := range want {
		if got := a.slot(port, slot).Connections; got != n {
			a.t.Errorf("slot %d has %d connections, want %d of %d", slot, got, n, want)
		}
	}
}

// Workers of an unprivileged user join by themselves, and the kernel goes by what they
// report.
func TestLibraryWorkersReportTheirLoad(t *testing.T) {
	t.Parallel()
	program, port := needLibworker(t), servers.FreePort(t, nil)
	a := flags("-n 3 --user nobody").start(t, program, "-listen", fmt.Sprint(":", port)).serves(port, 3)
	workers := a.settled(port, 3)
	for slot, pid := range workers {
		a.prints(fmt.Sprintf("pid %d: steered true, group \"%s-%d\", slot %d of %d\n", pid, a.name, port, slot, slot))
	}
	a.report(port, 1, 6)
	held := clients.Hold(t, local(port), 60)
	a.expectConnections(port, 22, 16, 22)
	held.Close()
	expectKept(t, workers, a.settled(port, 3))
}

// Library workers and others share a group: in Go, and in Node. A library worker that
// dies leaves no load behind for the one that has its slot next.
func TestMixedGroup(t *testing.T) {
	t.Parallel()
	program, port := needLibworker(t), servers.FreePort(t, nil)
	node := strings.Join(servers.Node.Command(t, port), " ")
	other := fmt.Sprintf("%s -listen :%d", needPrograms(t).worker, port)
	plain := filepath.Join(t.TempDir(), "plain")
	library := fmt.Sprintf("sh -c 'test -e %s && exec %s || exec %s -listen :%d'", plain, other, program, port)
	a := flags("-n 3").start(t, kinds(library, node, other)...).serves(port, 3)
	a.settled(port, 3)
	a.report(port, 0, 6)
	held := clients.Hold(t, local(port), 60)
	a.expectConnections(port, 16, 22, 22)
	held.Close()
	until(t, "no connection is left", func() bool { return a.connections(port) == 0 })

	// The same again, from its next process.
	a.loses(port, 0)
	a.report(port, 0, 6)
	// And one that doesn't use the library in its place.
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a.loses(port, 0)
	if s := a.slot(port, 0); s.Load != 0 || s.Beat != 0 {
		t.Errorf("slot 0 has a load of %d and a heartbeat of %d, and its worker reports nothing", s.Load, s.Beat)
	}
	clients.Hold(t, local(port), 60)
	a.expectConnections(port, 20, 20, 20)
}

// loses kills the worker in a slot, and waits for the next.
func (a *app) loses(port, slot int) {
	a.t.Helper()
	before := a.slot(port, slot).PID
	killProcess(a.t, before)
	until(a.t, "another process has the slot", func() bool { return a.slot(port, slot).PID != before })
	a.settled(port, 3)
}

// A library worker that stands still is noticed though nobody connects, which can't be with
// another one. It comes back by its heartbeat, or is killed.
func TestIdleLibraryWorkerHangs(t *testing.T) {
	t.Parallel()
	program, port := needLibworker(t), servers.FreePort(t, nil)
	library := fmt.Sprintf("%s -listen :%d", program, port)
	other := fmt.Sprintf("%s -listen :%d", needPrograms(t).worker, port)
	a := flags("-n 4 --hang-grace 1m").start(t, kinds(library, library, other)...).serves(port, 4)
	workers := a.settled(port, 4)
	a.reports(port, 0)
	a.reports(port, 1)
	stopProcess(t, workers[1])
	a.isIn(port, 1, "ejected")
	a.says(fmt.Sprintf("worker 1 (pid %d) hangs: its heartbeat stands still for ", workers[1]))
	held := clients.Hold(t, local(port), 30)
	if n := a.slot(port, 1).Connections; n != 0 {
		t.Errorf("%d connections for the worker that hangs", n)
	}
	goOn(t, workers[1])
	a.isIn(port, 1, "live")
	a.says(fmt.Sprintf("worker 1 (pid %d) accepts again", workers[1]))
	held.Close()

	// The next supervisor readmits it just as well.
	stopProcess(t, workers[1])
	a.isIn(port, 1, "ejected")
	a.kill()
	next := a.startAgain()
	next.says("took over ")
	goOn(t, workers[1])
	next.isIn(port, 1, "live")
	expectKept(t, workers, next.settled(port, 4))

	// An unmodified one that stands still is nobody's trouble until there is a connection.
	stopProcess(t, workers[3])
	next.reports(port, 0)
	next.reports(port, 1)
	if state := next.slot(port, 3).State.String(); state != "live" {
		t.Errorf("slot 3 is %s", state)
	}
	goOn(t, workers[3])
}

func TestHungLibraryWorkerIsRestarted(t *testing.T) {
	t.Parallel()
	program, port := needLibworker(t), servers.FreePort(t, nil)
	a := flags("-n 3 --hang-grace 500ms").start(t, program, "-listen", fmt.Sprint(":", port)).serves(port, 3)
	workers := a.settled(port, 3)
	for slot := range 3 {
		a.reports(port, slot)
	}
	stopProcess(t, workers[2])
	a.says(fmt.Sprintf("worker 2 (pid %d) is killed: it hangs for ", workers[2]))
	until(t, "another process is in its slot", func() bool { return a.slot(port, 2).PID != workers[2] })
	a.settled(port, 3)
	a.report(port, 2, 6)
}

// A supervisor dies, and the next one has the same workers in the same slots,
// with their loads, joined again.
func TestLibraryWorkersJoinAgain(t *testing.T) {
	t.Parallel()
	program, port := needLibworker(t), servers.FreePort(t, nil)
	a := flags("-n 3").start(t, program, "-listen", fmt.Sprint(":", port)).serves(port, 3)
	workers := a.settled(port, 3)
	a.report(port, 1, 6)
	load := startTraffic(t, clients.Client{}, local(port))
	next := a
	for range 3 {
		next.kill()
		next = next.startAgain("--verbose")
		next.says("took over 3 workers")
	}
	until(t, "all have joined again", func() bool { return strings.Count(read(next.log), "a library worker has joined") == 3 })
	load.expectAnswered()
	expectKept(t, workers, next.settled(port, 3))
	if s := next.slot(port, 1); s.Load != 6 {
		t.Errorf("slot 1 has a load of %d, want 6", s.Load)
	}
	held := clients.Hold(t, local(port), 60)
	next.expectConnections(port, 22, 16, 22)
	held.Close()
}

// Not one connection is lost when supervisors die, and by reloads and scale steps; and by
// the death of a worker only those that it had accepted.
func TestLibraryWorkersLoseNothing(t *testing.T) {
	t.Parallel()
	program, c := needLibworker(t), deaths()
	b := &booked{port: servers.FreePort(t, nil), workers: 3, records: t.TempDir(), seed: seed(t), numbers: 1}
	b.random = rand.New(rand.NewPCG(b.seed, 0))
	s := flags("-n 3 --log plain")
	s.env = []string{ledger.FolderVariable + "=" + b.records}
	b.app = s.start(t, program, "-listen", fmt.Sprint(":", b.port)).serves(b.port, 3)
	workers := b.changed(3)
	b.hold(c.held, ledger.Held{})
	load := b.load(c.rate, ledger.Held{})
	for range c.turns {
		b.dies()
		expectKept(t, workers, b.changed(3))
	}
	b.finish(load)
	b.expectExact()
	b.expectNoneLost()

	load = b.load(c.rate, ledger.Held{})
	b.verb("reload", b.name)
	expectReplaced(t, workers, b.changed(3))
	b.verb("scale", b.name, "5")
	b.changed(5)
	b.verb("scale", b.name, "3")
	b.changed(3)
	b.finish(load)
	b.expectNoneLost()

	load = b.load(c.rate, ledger.Held{})
	b.losesAWorker()
	b.finish(load)
	book, _ := b.settle()
	b.expectOnlyKilledLost(book)
	for slot := range b.changed(3) {
		b.reports(b.port, slot)
	}
}

// A worker's own drain is its own: the supervisor, and the next one, have it serve on.
func TestLibraryWorkerDrains(t *testing.T) {
	t.Parallel()
	program, port := needLibworker(t), servers.FreePort(t, nil)
	a := flags("-n 3").start(t, program, "-listen", fmt.Sprint(":", port)).serves(port, 3)
	workers := a.settled(port, 3)
	a.reports(port, 1)
	held := clients.Hold(t, local(port), 9)
	if err := unix.Kill(workers[1], unix.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	a.prints(fmt.Sprintf("pid %d: drained\n", workers[1]))
	expectHeld := func(a *app) {
		t.Helper()
		if s := a.slot(port, 1); s.Hold != loader.HoldSelf || s.Connections != 3 || s.PID != workers[1] {
			t.Errorf("slot 1 is %+v", s)
		}
	}
	expectHeld(a)
	more := clients.Hold(t, local(port), 10)
	expectHeld(a)
	a.kill()
	next := a.startAgain()
	next.says("took over 3 workers")
	expectHeld(next)
	next.verb("drain", fmt.Sprintf("%s-%d/1", a.name, port))
	next.verb("undrain", fmt.Sprintf("%s-%d/1", a.name, port))
	expectHeld(next)
	if ledger := append(held, more...).Ask(); len(ledger.Lost()) > 0 {
		t.Error(ledger)
	}
	if pids := next.pids(port); pids[1] != workers[1] {
		t.Errorf("worker 1 is process %d, want %d", pids[1], workers[1])
	}
}

// Reloads, scaling and the end lose nothing.
func TestLibraryWorkersAreReloaded(t *testing.T) {
	t.Parallel()
	program, port := needLibworker(t), servers.FreePort(t, nil)
	a := flags("-n 3 --hang-after 10s").start(t, program, "-listen", fmt.Sprint(":", port)).serves(port, 3)
	before := a.settled(port, 3)
	load := startTraffic(t, clients.Client{}, local(port))
	a.verb("reload", a.name)
	after := a.settled(port, 3)
	expectReplaced(t, before, after)
	a.verb("scale", a.name, "5")
	a.settled(port, 5)
	a.verb("scale", a.name, "2")
	for slot := range a.settled(port, 2) {
		a.reports(port, slot)
	}
	load.expectAnswered()
	if text := read(a.log); strings.Contains(text, "hangs") {
		t.Errorf("a false alarm:\n%s", text)
	}
}

// Nobody but the app's own workers joins, and nobody but operators operates: from a process
// of another cgroup, and of another user.
func TestStrangersDoNotJoin(t *testing.T) {
	t.Parallel()
	program, port := needLibworker(t), servers.FreePort(t, nil)
	a := flags("-n 2").start(t, program, "-listen", fmt.Sprint(":", port)).serves(port, 2)
	a.settled(port, 2)
	socket := control.WorkersSocket(a.runtime, a.name)

	conn, err := wire.Dial(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Send(wire.Request{Verb: wire.JoinGroup, Join: &wire.Join{Network: "tcp", Address: fmt.Sprint(":", port)}}); err != nil {
		t.Fatal(err)
	}
	reply, files, err := conn.Receive()
	if err != nil || !reply.Done || len(files) != 0 || !strings.Contains(reply.Error, "only workers of this app join here") {
		t.Errorf("reply %+v with %d files, %v", reply, len(files), err)
	}
	err = wire.Call(t.Context(), socket, wire.Request{Verb: wire.Stop}, nil)
	var refusal *wire.Refusal
	if !errors.As(err, &refusal) {
		t.Errorf("stop at the workers' socket: %v", err)
	}

	// Another user gets to the workers' socket, and to nothing else.
	if err := wire.Call(t.Context(), socket, wire.Request{Verb: wire.Ping}, nil); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]bool{"workers": true, "control": false, "state.json": false} {
		path := filepath.Join(a.runtime, a.name, name)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if may := info.Mode()&0o006 != 0; may != want {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
	list := exec.Command(privilege.Tool(t, "ls"), filepath.Join(a.runtime, a.name))
	list.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := list.CombinedOutput(); err == nil {
		t.Errorf("another user can list the folder: %s", out)
	}
}

// Somebody who floods the workers' socket harms nobody: others join, connections
// are served, and the supervisor keeps no descriptor.
func TestFloodAtTheWorkersSocket(t *testing.T) {
	t.Parallel()
	program, port := needLibworker(t), servers.FreePort(t, nil)
	a := flags("-n 2").start(t, program, "-listen", fmt.Sprint(":", port)).serves(port, 2)
	for slot := range a.settled(port, 2) {
		a.reports(port, slot) // its session is a descriptor, too
	}
	before := a.descriptors()
	load := startTraffic(t, clients.Client{}, local(port))
	socket := control.WorkersSocket(a.runtime, a.name)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var flood sync.WaitGroup
	for range 4 {
		flood.Go(func() {
			for i := range 200 {
				conn, err := wire.Dial(context.Background(), socket)
				if err != nil {
					t.Error(err)
					return
				}
				_ = conn.Send(wire.Request{Verb: wire.JoinGroup}, file)
				if i%3 == 0 {
					_, files, _ := conn.Receive()
					for _, f := range files {
						f.Close()
					}
				}
				conn.Close()
			}
		})
	}
	flood.Wait()
	load.expectAnswered()
	a.verb("reload", a.name)
	for slot := range a.settled(port, 2) {
		a.reports(port, slot)
	}
	until(t, "the supervisor has as many descriptors as before", func() bool { return a.descriptors() <= before })
}

// A worker that does whatever it can to its supervisor harms nobody, and gets nothing
// that isn't its own.
func TestHostileWorker(t *testing.T) {
	t.Parallel()
	program, port := needLibworker(t), servers.FreePort(t, nil)
	hostile := filepath.Join(filepath.Dir(program), "hostileworker")
	if err := build(hostile, "./testdata/hostileworker"); err != nil {
		t.Fatal(err)
	}
	hold := filepath.Join(t.TempDir(), "go")
	library := fmt.Sprintf("%s -listen :%d", program, port)
	bad := fmt.Sprintf("sh -c 'while ! test -e %s; do sleep 0.1; done; exec %s -listen :%d'", hold, hostile, port)
	a := flags("-n 3 --hang-after 10s").start(t, kinds(library, library, bad)...)
	for slot := range 2 {
		until(t, "the slots are there", func() bool { _, there := a.mapped(port)[slot]; return there })
		a.reports(port, slot)
	}
	before := a.descriptors()
	if err := os.WriteFile(hold, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a.serves(port, 3)
	load := startTraffic(t, clients.Client{}, local(port))
	a.prints("\nhostile: done")
	a.loses(port, 0)
	a.report(port, 0, 6)
	load.finish()
	for line := range strings.Lines(read(a.output)) {
		if strings.HasPrefix(line, "hostile: ") && line != "hostile: done\n" {
			t.Error(line)
		}
	}
	if text := read(a.log); strings.Contains(text, "hangs") {
		t.Errorf("a false alarm:\n%s", text)
	}
	// One is the pidfd of the worker that wasn't there yet, others its output's.
	until(t, "the supervisor has as many descriptors as before", func() bool { return a.descriptors() <= before+1 })
}

func (a *app) descriptors() int {
	a.t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", a.pid()))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.t.Fatal(err)
	}
	return len(entries)
}

// Pins are lost behind the supervisor's back: library workers join what it makes
// anew, with the load that they had.
func TestLibraryWorkersJoinWhatIsMadeAnew(t *testing.T) {
	t.Parallel()
	program, port := needLibworker(t), servers.FreePort(t, nil)
	a := flags("-n 3").start(t, program, "-listen", fmt.Sprint(":", port)).serves(port, 3)
	workers := a.settled(port, 3)
	a.report(port, 1, 6)
	for _, pins := range a.glob("v*") {
		if err := os.RemoveAll(pins); err != nil {
			t.Fatal(err)
		}
	}
	a.says("it is made anew")
	until(t, "all report again", func() bool {
		slots := a.mapped(port)
		return len(slots) == 3 && slots[0].Beat != 0 && slots[1].Load == 6 && slots[2].Beat != 0
	})
	expectKept(t, workers, a.settled(port, 3))
	held := clients.Hold(t, local(port), 60)
	a.expectConnections(port, 22, 16, 22)
	held.Close()
	expectKept(t, workers, a.settled(port, 3))
}

// mapped are the slots of all groups at a port, of which there may be none.
func (a *app) mapped(port int) map[int]loader.Slot {
	a.t.Helper()
	slots := make(map[int]loader.Slot)
	for _, g := range a.groups() {
		if int(g.Spec.Address.Port()) == port {
			for _, s := range g.Slots {
				slots[s.Slot] = s
			}
		}
	}
	return slots
}

// Where the workers' user can't get at the socket, that is said, and they serve
// as any worker does.
func TestLibraryWorkersThatMayNotPass(t *testing.T) {
	t.Parallel()
	program, port := needLibworker(t), servers.FreePort(t, nil)
	s := flags("-n 2 --user nobody")
	s.runtime = filepath.Join(t.TempDir(), "run") // folders of tests are closed
	a := s.start(t, program, "-listen", fmt.Sprint(":", port)).serves(port, 2)
	a.says("workers can't report their load, as their user may not pass to ")
	for slot, pid := range a.settled(port, 2) {
		a.prints(fmt.Sprintf("pid %d: steered false, group \"\", slot -1 of %d\n", pid, slot))
	}
	held := clients.Hold(t, local(port), 20)
	a.expectEven(port, held)
}
