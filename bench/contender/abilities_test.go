package contender

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAbilities starts every contender with three workers, and has it do what
// it says it can.
func TestAbilities(t *testing.T) {
	for _, c := range All() {
		t.Run(c.Name, func(t *testing.T) { provesItself(t, c) })
	}
}

func provesItself(t *testing.T, c *Contender) {
	if missing := c.Missing(); missing != "" {
		absent(t, missing)
	}
	f := launch(t, newSetup(t, 3), c.Start)
	proof{t, c, f}.of(Works, proof.works)
	proof{t, c, f}.of(Keeps, proof.keeps)
	proof{t, c, f}.of(Upgrades, proof.upgrades)
	proof{t, c, f}.of(Reloads, proof.reloads)
	proof{t, c, f}.of(Grows, proof.grows)
	proof{t, c, f}.of(Respawns, proof.respawns)
	proof{t, c, f}.of(Slows, proof.slows) // last: workers stay slow
	proof{t, c, f}.accounts()
}

// absent skips t, or fails it in continuous integration.
func absent(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// A proof is of one fleet.
type proof struct {
	*testing.T
	c *Contender
	f *Fleet
}

func (p proof) of(a Ability, how func(proof)) {
	p.Helper()
	if p.c.Can.Has(a) {
		how(p)
	}
}

// workers are n, within a moment.
func (p proof) workers(n int) []int {
	p.Helper()
	deadline := time.Now().Add(patience)
	for {
		pids, err := p.f.Workers()
		if err == nil && len(pids) == n {
			return pids
		}
		if time.Now().After(deadline) {
			p.Fatalf("workers %v (%v), want %d", pids, err, n)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// ask asks until each of some workers has answered.
func (p proof) askAll(pids []int) {
	p.Helper()
	missing := slices.Clone(pids)
	for range 200 * len(pids) {
		pid, err := Ask(p.f.Address, "/")
		if err != nil {
			p.Fatal(err)
		}
		if !slices.Contains(pids, pid) {
			p.Fatalf("process %d answered, workers are %v", pid, pids)
		}
		missing = slices.DeleteFunc(missing, func(m int) bool { return m == pid })
		if len(missing) == 0 {
			return
		}
	}
	p.Logf("workers %v of %v never answered", missing, pids) // as a shared queue may have it
}

// took is how long /work takes at least, of a few.
func (p proof) took(us float64) time.Duration {
	p.Helper()
	shortest := time.Hour
	for range 5 {
		began := time.Now()
		if _, err := Ask(p.f.Address, fmt.Sprintf("/work?us=%v", us)); err != nil {
			p.Fatal(err)
		}
		shortest = min(shortest, time.Since(began))
	}
	return shortest
}

func (p proof) works() {
	p.Helper()
	p.askAll(p.workers(3))
	if took := p.took(20500.5); took < 20500*time.Microsecond || took > 80*time.Millisecond {
		p.Errorf("work of 20.5 ms took %v", took)
	}
}

// slows: all workers are told, as one can't choose who serves.
func (p proof) slows() {
	p.Helper()
	for _, pid := range p.workers(len(p.present())) {
		if err := unix.Kill(pid, unix.SIGUSR2); err != nil {
			p.Fatal(err)
		}
	}
	time.Sleep(100 * time.Millisecond)
	if took := p.took(30000); took < 60*time.Millisecond || took > 110*time.Millisecond {
		p.Errorf("work of 30 ms took a slow worker %v", took)
	}
}

func (p proof) present() []int {
	p.Helper()
	pids, err := p.f.Workers()
	if err != nil {
		p.Fatal(err)
	}
	return pids
}

// keeps: one connection, and one process, for many requests.
func (p proof) keeps() {
	p.Helper()
	conn, reader := p.dial()
	defer conn.Close()
	for range 20 {
		response := p.exchange(conn, reader, "GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
		if _, err := readPID(response.Body); err != nil {
			p.Fatalf("a request on a kept connection: %v", err)
		}
		if response.Close {
			p.Fatal("it closes a connection that is to be kept")
		}
	}
}

func (p proof) upgrades() {
	p.Helper()
	conn, reader := p.dial()
	defer conn.Close()
	response := p.exchange(conn, reader, "GET /stream HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	if response.StatusCode != http.StatusSwitchingProtocols {
		p.Fatalf("the answer to an upgrade is %s", response.Status)
	}
	line, err := reader.ReadString('\n')
	if err != nil {
		p.Fatal(err)
	}
	if pid, err := strconv.Atoi(strings.TrimSpace(line)); err != nil || !slices.Contains(p.present(), pid) {
		p.Errorf("an upgraded connection begins with %q", line)
	}
	for _, said := range []string{"x", "hello", strings.Repeat("y", 1000)} {
		heard := make([]byte, len(said))
		_, err := io.WriteString(conn, said)
		if _, err2 := io.ReadFull(reader, heard); err != nil || err2 != nil || string(heard) != said {
			p.Fatalf("echo of %q: %q, %v, %v", said, heard, err, err2)
		}
	}
}

func (p proof) dial() (net.Conn, *bufio.Reader) {
	p.Helper()
	conn, err := net.Dial("tcp", p.f.Address.String())
	if err != nil {
		p.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn, bufio.NewReader(conn)
}

func (p proof) exchange(conn net.Conn, reader *bufio.Reader, request string) *http.Response {
	p.Helper()
	if _, err := io.WriteString(conn, request); err != nil {
		p.Fatal(err)
	}
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		p.Fatal(err)
	}
	return response
}

func readPID(from io.Reader) (int, error) {
	text, err := io.ReadAll(from)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// reloads: under load, all workers are others afterwards.
func (p proof) reloads() {
	p.Helper()
	before := p.workers(3)
	asking := begin(p.f.Address)
	time.Sleep(100 * time.Millisecond)
	err := p.f.Reload(p.Context())
	after := p.workers(3)
	time.Sleep(100 * time.Millisecond)
	answered, lost := asking.end()
	if err != nil {
		p.Fatalf("reload: %v", err)
	}
	for _, pid := range before {
		if slices.Contains(after, pid) {
			p.Errorf("worker %d outlived the reload", pid)
		}
	}
	p.Logf("reload: %d answered, %d lost", answered, len(lost))
	if len(lost) > 0 && !losesAtReload(p.c.Name) {
		p.Errorf("the reload lost %d of %d, such as: %v", len(lost), len(lost)+answered, lost[0])
	}
	p.askAll(after)
}

// losesAtReload are those of which it is known: who closes a listener of plain
// SO_REUSEPORT resets what waits there.
func losesAtReload(name string) bool {
	return strings.Contains(name, "reuseport") || strings.Contains(name, "prefork")
}

func (p proof) grows() {
	p.Helper()
	before := p.workers(3)
	if err := p.f.Grow(p.Context()); err != nil {
		p.Fatalf("grow: %v", err)
	}
	after := p.workers(4)
	for _, pid := range before {
		if !slices.Contains(after, pid) {
			p.Errorf("worker %d is gone since there is one more", pid)
		}
	}
	p.askAll(after)
}

func (p proof) respawns() {
	p.Helper()
	before := p.present()
	if err := unix.Kill(before[0], unix.SIGKILL); err != nil {
		p.Fatal(err)
	}
	for deadline := time.Now().Add(patience); slices.Contains(p.present(), before[0]); {
		if time.Now().After(deadline) {
			p.Fatalf("worker %d, killed, is still among %v", before[0], p.present())
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.askAll(p.workers(len(before)))
}

// accounts: workers are among the processes whose CPU and memory count.
func (p proof) accounts() {
	p.Helper()
	all, err := p.f.PIDs()
	if err != nil {
		p.Fatal(err)
	}
	for _, pid := range p.present() {
		if !slices.Contains(all, pid) {
			p.Errorf("worker %d isn't among its processes %v", pid, all)
		}
	}
	if used, err := p.f.CPU(); err != nil || used <= 0 {
		p.Errorf("it used %v of CPU (%v)", used, err)
	}
	if used, err := p.f.Memory(); err != nil || used < 1<<20 {
		p.Errorf("it uses %d bytes of memory (%v)", used, err)
	}
	if len(p.f.Commands) == 0 {
		p.Error("no command is on record")
	}
}

// asking asks one question after another, over connections of their own.
type asking struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu       sync.Mutex
	answered int
	lost     []error
}

func begin(server netip.AddrPort) *asking {
	ctx, cancel := context.WithCancel(context.Background())
	a := &asking{cancel: cancel}
	for range 4 {
		a.done.Go(func() {
			for ctx.Err() == nil {
				_, err := Ask(server, "/work?us=500")
				a.note(err)
			}
		})
	}
	return a
}

func (a *asking) note(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.lost = append(a.lost, err)
	} else {
		a.answered++
	}
}

func (a *asking) end() (answered int, lost []error) {
	a.cancel()
	a.done.Wait()
	return a.answered, a.lost
}

// TestMissing: what a checkout lacks is named.
func TestMissing(t *testing.T) {
	c := &Contender{Needs: []string{"sh", "bench/peers", "no-such-program", "bench/no-such-folder"}}
	if got, want := c.Missing(), "no-such-program, bench/no-such-folder not found: make deps installs it"; got != want {
		t.Errorf("missing: %q, want %q", got, want)
	}
}

// TestNames: each is unique, and found.
func TestNames(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range All() {
		if seen[c.Name] {
			t.Error(errors.New("two are called " + c.Name))
		}
		seen[c.Name] = true
		if found := ByName(c.Name); found == nil || found.Title != c.Title {
			t.Errorf("%s isn't found by its name", c.Name)
		}
	}
}
