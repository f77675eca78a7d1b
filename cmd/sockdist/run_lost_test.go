package main_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/dependent"
	"github.com/sockdist/sockdist/internal/ledger"
	"github.com/sockdist/sockdist/internal/privilege"
)

// mounts is a private mount namespace with a bpffs of its own, over the machine's.
type mounts struct {
	t     testing.TB
	pid   int    // of who keeps it
	bpffs string // where it is mounted
}

func newMounts(t testing.TB) *mounts {
	t.Helper()
	p := needPrograms(t)
	keeper := exec.Command(privilege.Tool(t, "unshare"), "--mount", "--propagation", "private",
		"sh", "-c", `mount -t bpf bpf "$1" && echo mounted && exec cat`, "keeper", p.bpffs)
	keeper.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err1 := keeper.StdinPipe()
	out, err2 := keeper.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := dependent.Start(keeper); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = keeper.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("mount a bpffs of one's own: %q, %v", line, err)
	}
	return &mounts{t: t, pid: keeper.Process.Pid, bpffs: p.bpffs}
}

// enter is a command line that starts another one there.
func (m *mounts) enter() []string {
	return []string{privilege.Tool(m.t, "nsenter"), "--mount=" + fmt.Sprintf("/proc/%d/ns/mnt", m.pid), "--"}
}

func (m *mounts) run(command ...string) {
	m.t.Helper()
	args := append(m.enter(), command...)
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		m.t.Fatalf("%v: %v\n%s", command, err, out)
	}
}

// seen is where the test finds a file of the namespace.
func (m *mounts) seen(path string) string {
	return filepath.Join(fmt.Sprintf("/proc/%d/root", m.pid), path)
}

// startIn is startBooked there, from where pins are read.
func (m *mounts) startIn(s setup, server ledger.Server, n int) *booked {
	m.t.Helper()
	s.under = m.enter()
	var pins string
	s.prepare = func(cmd *exec.Cmd) { pins = cmd.Args[slices.Index(cmd.Args, "--dir")+1] }
	b := s.startUnread(m.t, server, n)
	b.app.pins = m.seen(pins)
	b.live()
	return b
}

// losses are what may happen to pins behind a supervisor's back.
var losses = map[string]func(m *mounts, b *booked){
	"all pins removed":   func(m *mounts, b *booked) { m.remove(b, "v2") },
	"folder removed":     func(m *mounts, b *booked) { m.remove(b, "") },
	"the app's removed":  func(m *mounts, b *booked) { m.remove(b, "v2/apps") },
	"a group's removed":  func(m *mounts, b *booked) { m.remove(b, "v2/groups") },
	"one pin removed":    func(m *mounts, b *booked) { m.remove(b, "v2/groups/*/sockets") },
	"the host's removed": func(m *mounts, b *booked) { m.remove(b, "v2/host") },
	"bpffs unmounted":    func(m *mounts, _ *booked) { m.run("umount", m.bpffs) },
	"no bpffs at all":    func(m *mounts, _ *booked) { m.run("umount", m.bpffs); m.run("umount", m.bpffs) },
}

// remove removes pins; a pattern means all that it matches.
func (m *mounts) remove(b *booked, pins string) {
	m.t.Helper()
	found, err := filepath.Glob(filepath.Join(b.pins, pins))
	if err != nil || len(found) == 0 {
		m.t.Fatalf("no pins %s, %v", pins, err)
	}
	for _, path := range found {
		if err := os.RemoveAll(path); err != nil {
			m.t.Fatal(err)
		}
	}
}

// Whatever becomes of the pins behind a running supervisor's back, it makes the
// kernel side anew: no connection is lost, and the counts are exact.
func TestPinsAreLost(t *testing.T) {
	t.Parallel()
	for name, lose := range losses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMounts(t)
			c := deaths()
			b := m.startIn(flags("--log plain"), ledger.Go, 3)
			workers := b.changed(3)
			b.hold(c.held, ledger.Held{})
			load := b.load(c.rate, ledger.Held{})
			lose(m, b)
			b.says("is made anew")
			b.mended(workers, load, c)
		})
	}
}

// The same, and the supervisor was killed before: the next one finds nothing, or
// not all, and takes the workers over.
func TestPinsAreLostWithoutASupervisor(t *testing.T) {
	t.Parallel()
	for name, lose := range losses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "no bpffs at all" {
				t.Skip("--dir names a folder that isn't on a bpffs then, which is refused")
			}
			m := newMounts(t)
			c := deaths()
			b := m.startIn(flags("--log plain"), ledger.Go, 3)
			workers := b.changed(3)
			b.hold(c.held, ledger.Held{})
			load := b.load(c.rate, ledger.Held{})
			b.app.kill()
			lose(m, b)
			b.moment(500 * time.Millisecond)
			pins := b.pins
			b.app = b.startAgain()
			b.app.pins = pins
			b.says("took over 3 workers")
			b.serves(b.port, 3)
			b.mended(workers, load, c)
		})
	}
}

// mended looks at an app whose kernel side is new.
func (b *booked) mended(workers map[int]int, load []*ledger.Run, c changes) {
	b.t.Helper()
	until(b.t, "there is a group again", func() bool { return len(b.groups()) == 1 })
	expectKept(b.t, workers, b.changed(3))
	b.goesOn(b.port)
	b.finish(load)
	b.expectExact()
	b.expectNoneLost()
	b.worksAsUsual(c)
}

// Cgroups that are gone between two lives are made again.
func TestLeafIsRemoved(t *testing.T) {
	t.Parallel()
	t.Run("between two lives of a worker", func(t *testing.T) {
		t.Parallel()
		b := flags("--log plain").startBooked(t, ledger.Go, 3)
		before := b.changed(3)
		load := b.load(deaths().rate, ledger.Held{})
		stopProcess(t, b.pid())
		k, err := ledger.KillWorker(before[1])
		if err != nil {
			t.Fatal(err)
		}
		b.kills = append(b.kills, k)
		b.removeLeaf("1")
		b.app.signal(unix.SIGCONT)
		b.replaced(before[1])
		b.finish(load)
		book, _ := b.settle()
		b.expectOnlyKilledLost(book)
	})
	t.Run("between two lives of sockdist", func(t *testing.T) {
		t.Parallel()
		b := flags("--log plain").startBooked(t, ledger.Go, 3)
		before := b.changed(3)
		load := b.load(deaths().rate, ledger.Held{})
		b.app.kill()
		k, err := ledger.KillWorker(before[1])
		if err != nil {
			t.Fatal(err)
		}
		b.kills = append(b.kills, k)
		b.removeLeaf("1")
		b.app = b.startAgain()
		b.serves(b.port, 3)
		after := b.changed(3)
		if after[0] != before[0] || after[2] != before[2] {
			t.Errorf("processes %v, before %v", after, before)
		}
		b.finish(load)
		book, _ := b.settle()
		b.expectOnlyKilledLost(book)
	})
	t.Run("the whole app's", func(t *testing.T) {
		t.Parallel()
		b := flags("--log plain").startBooked(t, ledger.Go, 3)
		before := b.changed(3)
		b.app.kill()
		b.killWorkers()
		for slot := range before {
			b.removeLeaf(fmt.Sprint(slot))
		}
		b.removeLeaf("")
		b.app = b.startAgain()
		b.serves(b.port, 3)
		expectReplaced(t, before, b.changed(3))
		load := b.load(deaths().rate, ledger.Held{})
		b.goesOn(b.port)
		b.finish(load)
		b.expectNoneLost()
	})
}

// removeLeaf waits until nobody lives there.
func (b *booked) removeLeaf(leaf string) {
	b.t.Helper()
	until(b.t, "cgroup "+leaf+" is removed", func() bool { return unix.Rmdir(filepath.Join(b.cgroup(), leaf)) == nil })
}

// Among very many processes those of the app are found, at a take-over and
// where connections are older than their slot.
func TestTakeOverAmongManyProcesses(t *testing.T) {
	if !long() {
		t.Skip("only with SOCKDIST_LONG=1")
	}
	m := newMounts(t)
	c := deaths()
	b := m.startIn(flags("--log plain"), ledger.Go, 3)
	workers := b.changed(3)
	b.hold(c.held, ledger.Held{})
	crowd(t, 10_000)
	load := b.load(c.rate, ledger.Held{})
	pins := b.pins
	for name, lose := range map[string]func(*mounts, *booked){"take-over": func(*mounts, *booked) {}, "adoption": losses["all pins removed"]} {
		b.app.kill()
		lose(m, b)
		began := time.Now()
		b.app = b.startAgain()
		b.app.pins = pins
		b.serves(b.port, 3)
		t.Logf("%s among 10,000 processes: %v until all is served", name, time.Since(began).Round(time.Millisecond))
		expectKept(t, workers, b.changed(3))
	}
	b.finish(load)
	b.expectExact()
	b.expectNoneLost()
}

// crowd starts n processes that sleep until the test ends.
func crowd(t testing.TB, n int) {
	t.Helper()
	// All end with the first one, which is the init of a PID namespace.
	cmd := exec.Command("sh", "-c", fmt.Sprintf(`i=0; while [ $i -lt %d ]; do sleep 3600 & i=$((i+1)); done; echo all; read -r _`, n))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Cloneflags: unix.CLONE_NEWPID}
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := dependent.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill()
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); strings.TrimSpace(line) != "all" {
		t.Fatalf("start %d processes: %q, %v", n, line, err)
	}
	if all, _ := filepath.Glob("/proc/[0-9]*"); len(all) < n {
		t.Fatalf("%d processes, want %d", len(all), n)
	}
}
