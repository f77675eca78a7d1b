package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/ledger"
	"github.com/sockdist/sockdist/internal/servers"
	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// attached is a running nginx, with a pin folder in which sockdists of several
// versions work. In the end nothing may be left there.
type attached struct {
	programs
	t     *testing.T
	nginx *servers.Process
	pins  string
	name  string // the group's
	at    string // its address
}

func startAttached(t *testing.T) *attached {
	t.Helper()
	a := &attached{t: t, programs: needPrograms(t)}
	a.pins = filepath.Join(a.bpffs, fmt.Sprintf("%s-%d", prefix, appNumber.Add(1)))
	a.nginx = servers.StartNginx(t, 4)
	a.name, a.at = fmt.Sprint(a.nginx.Port()), fmt.Sprintf(":%d", a.nginx.Port())
	t.Cleanup(func() {
		if t.Failed() {
			a.try(a.sockdist, "detach", "--all")
		}
		if _, err := os.Stat(a.pins); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("pins left in %s: %v", a.pins, err)
			os.RemoveAll(a.pins)
		}
	})
	return a
}

func (a *attached) command(binary string, args ...string) *exec.Cmd {
	cmd := exec.Command(binary, append([]string{"--dir", a.pins}, args...)...)
	cmd.Env = environment()
	return cmd
}

func (a *attached) try(binary string, args ...string) (out string, err error) {
	cmd := a.command(binary, args...)
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	err = cmd.Run()
	return both.String(), err
}

func (a *attached) do(binary string, args ...string) string {
	a.t.Helper()
	out, err := a.try(binary, args...)
	if err != nil {
		a.t.Fatalf("%s %q: %v\n%s", filepath.Base(binary), args, err, out)
	}
	return out
}

func (a *attached) layouts() (names []string) {
	found, _ := filepath.Glob(filepath.Join(a.pins, "v*"))
	for _, path := range found {
		names = append(names, filepath.Base(path))
	}
	return names
}

func (a *attached) snapshot() loader.Snapshot {
	a.t.Helper()
	host, err := loader.Open(loader.Options{Dir: a.pins})
	if err != nil {
		a.t.Fatal(err)
	}
	g, err := host.Group(a.name)
	if err != nil {
		a.t.Fatal(err)
	}
	defer g.Close()
	s, err := g.Snapshot()
	if err != nil {
		a.t.Fatal(err)
	}
	return s
}

// expectCounted waits until the slots have what their processes have of these
// connections, and no other.
func (a *attached) expectCounted(held clients.Held) {
	a.t.Helper()
	counts := make(map[int]int)
	defer func() {
		if a.t.Failed() {
			a.t.Logf("connections by process: counted %v, and held are %v", counts, held.PIDs())
		}
	}()
	until(a.t, "the counts are exact", func() bool {
		clear(counts)
		for _, s := range a.snapshot().Slots {
			if s.Connections > 0 {
				counts[s.PID] = int(s.Connections)
			}
		}
		return maps.Equal(counts, held.PIDs())
	})
}

func (a *attached) steerers() map[uint32]int { return steerersAt(a.t, a.nginx.Port()) }

// steerersAt are the programs that choose among the sockets of a port.
func steerersAt(t testing.TB, port int) map[uint32]int {
	t.Helper()
	steerers, err := loader.Steerers()
	if err != nil {
		t.Fatal(err)
	}
	listening, err := sockets.Listeners(sockets.Address{Port: uint16(port)})
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[uint32]int)
	for _, l := range listening {
		if id, steered := steerers[l.Cookie]; steered {
			found[id]++
		}
	}
	return found
}

// expectGivenBack checks that nobody chooses any more and nothing is left.
func (a *attached) expectGivenBack() {
	a.t.Helper()
	if left := a.steerers(); len(left) > 0 {
		a.t.Errorf("still steered, by programs %v", left)
	}
	if left := a.layouts(); len(left) > 0 {
		a.t.Errorf("pins are left: %v", left)
	}
}

// expectTakenOver: today's sockdist has the group, exactly, and nobody else.
func (a *attached) expectTakenOver(held clients.Held, traffic *traffic) {
	a.t.Helper()
	if layouts := a.layouts(); len(layouts) != 1 || layouts[0] != "v2" {
		a.t.Errorf("layouts %v, want v2", layouts)
	}
	if steerers := a.steerers(); len(steerers) != 1 {
		a.t.Errorf("steered by %v, want one program", steerers)
	}
	traffic.expectAnswered()
	if lost := held.Ask().Lost(); len(lost) > 0 {
		a.t.Errorf("held connections: %v", lost)
	}
	a.expectCounted(held)
	more := append(held, clients.Hold(a.t, a.nginx.Address, 400-len(held))...)
	for pid, n := range more.PIDs() {
		if n != 100 {
			a.t.Errorf("process %d has %d connections, want 100", pid, n)
		}
	}
	a.expectCounted(more)
}

// A group that attach made with another layout comes over when attach is run
// again, under load.
func TestAttachFromTheFirstLayout(t *testing.T) {
	t.Parallel()
	first := needFirst(t)
	a := startAttached(t)
	a.do(first, "attach", a.at, "--policy", "rr")
	a.do(first, "drain", a.name+"/1")
	held := clients.Hold(t, a.nginx.Address, 40)
	traffic := startTraffic(t, clients.Client{}, a.nginx.Address)
	expectSaid(t, a.do(a.sockdist, "status"), "1 group of another version of sockdist: "+a.name, "sockdist attach ADDR")
	before := a.steerers()

	out := a.do(a.sockdist, "attach", a.at, "--policy", "least")
	expectSaid(t, out, a.name+"  tcp4://0.0.0.0"+a.at+"  policy least  taken over", "another version of sockdist", "v1", "set again")
	if after := a.steerers(); maps.Equal(before, after) {
		t.Errorf("steered by %v still", after)
	}
	a.expectTakenOver(held, traffic)
	expectSaid(t, a.do(a.sockdist, "attach", a.at), "up to date already")
	if out := a.do(a.sockdist, "status"); strings.Contains(out, "another version") {
		t.Error(out)
	}
	a.do(a.sockdist, "detach", a.at)
	a.expectGivenBack()
}

// The same, and attach is killed again and again on the way.
func TestAttachFromTheFirstLayoutIsKilled(t *testing.T) {
	t.Parallel()
	first := needFirst(t)
	for turn := range 4 {
		a := startAttached(t)
		a.do(first, "attach", a.at)
		held := clients.Hold(t, a.nginx.Address, 40)
		traffic := startTraffic(t, clients.Client{}, a.nginx.Address)
		for range 3 {
			cmd := a.command(a.sockdist, "attach", a.at)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(patience); len(a.layouts()) == 1 && time.Now().Before(deadline); {
				time.Sleep(100 * time.Microsecond)
			}
			time.Sleep(rand.N(60 * time.Millisecond))
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			t.Logf("turn %d: killed with the layouts %v", turn, a.layouts())
		}
		a.do(a.sockdist, "attach", a.at)
		a.expectTakenOver(held, traffic)
		a.do(a.sockdist, "detach", a.name)
		a.expectGivenBack()
	}
}

// detach gives such a group back, by whatever it is called.
func TestDetachOfTheFirstLayout(t *testing.T) {
	t.Parallel()
	first := needFirst(t)
	for _, how := range []string{"name", "address", "--all"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			a := startAttached(t)
			a.do(first, "attach", a.at)
			held := clients.Hold(t, a.nginx.Address, 20)
			traffic := startTraffic(t, clients.Client{}, a.nginx.Address)
			what := map[string]string{"name": a.name, "address": a.at, "--all": "--all"}[how]
			expectSaid(t, a.do(a.sockdist, "detach", what), a.name+"  of another version of sockdist (v1)  given back to the kernel's hash")
			a.expectGivenBack()
			traffic.expectAnswered()
			if lost := held.Ask().Lost(); len(lost) > 0 {
				t.Errorf("held connections: %v", lost)
			}
		})
	}
}

// anotherBuild is today's sockdist with programs that do the same by other
// instructions, as the next version's might.
var anotherBuild = sync.OnceValues(func() (string, error) {
	p, err := findPrograms()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(filepath.Dir(p.sockdist), "another")
	loaderFolder, err := filepath.Abs("../../loader")
	if err != nil {
		return "", err
	}
	objects, err := os.ReadFile(filepath.Join(loaderFolder, "objects.go"))
	if err != nil {
		return "", err
	}
	replaced := map[string]string{
		"objects.go": strings.Replace(string(objects), "func objectSpec()", "func plainSpec()", 1),
		"another.go": `package loader

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

func objectSpec() (*ebpf.CollectionSpec, error) {
	spec, err := plainSpec()
	if err != nil {
		return nil, err
	}
	for _, program := range spec.Programs {
		nop := asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Ja)}
		program.Instructions = append(asm.Instructions{program.Instructions[0], nop}, program.Instructions[1:]...)
	}
	return spec, nil
}
`}
	var overlay struct{ Replace map[string]string }
	overlay.Replace = make(map[string]string)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	for name, text := range replaced {
		overlay.Replace[filepath.Join(loaderFolder, name)] = filepath.Join(dir, name)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), text, 0o600); err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "sockdist-another")
	return binary, build(binary, ".", append(raceFlag(), "-overlay", filepath.Join(dir, "overlay.json"))...)
})

func needAnother(t testing.TB) string {
	t.Helper()
	needPrograms(t)
	binary, err := anotherBuild()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// With the same layout attach keeps the group, and gives it this version's program.
func TestAttachAfterAnUpgrade(t *testing.T) {
	t.Parallel()
	another := needAnother(t)
	a := startAttached(t)
	a.do(a.sockdist, "attach", a.at, "--policy", "rr")
	a.do(a.sockdist, "weight", a.name+"/1", "50")
	held := clients.Hold(t, a.nginx.Address, 40)
	traffic := startTraffic(t, clients.Client{}, a.nginx.Address)
	binaries := []string{another, a.sockdist}
	for turn := range 4 {
		before := a.steerers()
		out := a.do(binaries[turn%2], "attach", a.at)
		expectSaid(t, out, "policy rr  brought up to date", "steered by the program of this sockdist")
		if after := a.steerers(); len(after) != 1 || maps.Equal(before, after) {
			t.Errorf("steered by %v, and by %v before", after, before)
		}
		expectSaid(t, a.do(binaries[turn%2], "attach", a.at), "up to date already")
	}
	if s := a.snapshot().Slots[1]; s.Weight != 50 {
		t.Errorf("the weight is %d, want 50 as it was set", s.Weight)
	}
	// What another app's upgrade replaced the pins of is detached all the same.
	host, err := loader.Open(loader.Options{Dir: a.pins})
	if err != nil {
		t.Fatal(err)
	}
	a.do(another, "attach", a.at)
	if n, err := host.Refresh(); n == 0 || err != nil {
		t.Errorf("%d programs were replaced, %v", n, err)
	}
	traffic.expectAnswered()
	if lost := held.Ask().Lost(); len(lost) > 0 {
		t.Errorf("held connections: %v", lost)
	}
	a.expectCounted(held)
	a.do(a.sockdist, "detach", a.name)
	a.expectGivenBack()
}

// A supervisor is replaced by one with other programs, under load.
func TestUpgradeOfTheSameLayout(t *testing.T) {
	t.Parallel()
	another := needAnother(t)
	c := deaths()
	b := flags("--log plain").startBooked(t, ledger.Go, 3)
	workers := b.changed(3)
	b.hold(c.held, ledger.Held{})
	load := b.load(c.rate, ledger.Held{})
	plain := b.cmd.Args[0]
	for turn := range c.turns {
		b.app.cmd.Args[0] = []string{another, plain}[turn%2] // startAgain takes it from there
		before := b.steerers()
		if turn%4 < 2 {
			old := b.app
			b.app = b.startAgain("--take-over")
			b.says("took over 3 workers")
			if code := old.exit(); code != 0 {
				t.Errorf("the supervisor that left: exit code %d", code)
			}
		} else {
			b.dies()
		}
		b.serves(b.port, 3)
		if after := b.steerers(); len(after) != 1 || maps.Equal(before, after) {
			t.Errorf("steered by %v, and by %v before", after, before)
		}
		expectKept(t, workers, b.changed(3))
	}
	b.finish(load)
	b.expectExact()
	b.expectNoneLost()
	b.worksAsUsual(c)
}

func (b *booked) steerers() map[uint32]int { return steerersAt(b.t, b.port) }

// A group of an app of another layout belongs to the app.
func TestAttachAndDetachLeaveAppsOfTheFirstLayout(t *testing.T) {
	t.Parallel()
	first := needFirst(t)
	port := servers.FreePort(t, nil)
	s := flags("-n 2")
	s.prepare = func(cmd *exec.Cmd) { cmd.Path = first }
	a := s.start(t, "worker", "-listen", fmt.Sprint(":", port)).serves(port, 2)
	at := fmt.Sprint(":", port)
	for _, args := range [][]string{{"attach", at}, {"detach", at}, {"detach", fmt.Sprintf("%s-%d", a.name, port)}} {
		expectSaid(t, a.refused(1, args...), a.name, "sockdist run")
	}
	a.verb("detach", "--all")
	expectSaid(t, a.verb("status"), "another version of sockdist", "sockdist run again")
}
