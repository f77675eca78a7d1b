package contender

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/userspace/sockets"
)

// TestAbilities starts every contender with three workers, and has it do what
// it says it can; and what it says it can't, as far as that shows.
func TestAbilities(t *testing.T) {
	for _, c := range All() {
		t.Run(c.Name, func(t *testing.T) { provesItself(t, c) })
	}
}

func provesItself(t *testing.T, c *Contender) {
	if missing := c.Missing(); missing != "" {
		absent(t, missing)
	}
	if c.Can.Has(Serial) {
		t.Run("Serial", func(t *testing.T) { servesOneAtATime(t, c) })
	}
	p := proof{t, c, launch(t, newSetup(t, 3), c.Start)}
	p.listens()
	p.of(Works, proof.works, nil)
	p.of(Keeps, proof.keeps, proof.closes)
	p.of(Upgrades, proof.upgrades, proof.staysHTTP)
	p.of(Reloads, proof.reloads, proof.hasNoReload)
	p.of(Grows, proof.grows, proof.hasNoGrow)
	p.of(Slows, proof.slows, nil) // they stay slow
	p.accounts()
	p.of(Respawns, proof.respawns, proof.dwindles)
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

func (p proof) of(a Ability, can, cannot func(proof)) {
	p.Helper()
	switch {
	case p.c.Can.Has(a):
		can(p)
	case cannot != nil:
		cannot(p)
	}
}

// listens: with the backlog that all have.
func (p proof) listens() {
	p.Helper()
	text, err := os.ReadFile("/proc/sys/net/core/somaxconn")
	if err != nil {
		p.Fatal(err)
	}
	somaxconn, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		p.Fatal(err)
	}
	listeners, err := sockets.Listeners(sockets.Address{Port: p.f.Address.Port()})
	if err != nil || len(listeners) == 0 {
		p.Fatalf("listeners %v (%v)", listeners, err)
	}
	for _, l := range listeners {
		if want := uint32(min(backlog, somaxconn)); l.MaxBacklog != want {
			p.Errorf("a listener's backlog is %d at most, want %d", l.MaxBacklog, want)
		}
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

// askAll asks until each of some workers has answered.
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

// took is how long /work takes at least, of a few; of more on a busy machine,
// where few are shorter than what is to be expected.
func (p proof) took(us float64, expected time.Duration) time.Duration {
	p.Helper()
	shortest := time.Hour
	for i := 0; i < 5 || shortest > expected && i < 100; i++ {
		shortest = min(shortest, p.work(us))
	}
	return shortest
}

// work is how long /work takes.
func (p proof) work(us float64) time.Duration {
	p.Helper()
	began := time.Now()
	if _, err := Ask(p.f.Address, fmt.Sprintf("/work?us=%v", us)); err != nil {
		p.Fatal(err)
	}
	return time.Since(began)
}

func (p proof) works() {
	p.Helper()
	p.askAll(p.workers(3))
	for _, pid := range p.present() {
		if slack, _ := os.ReadFile(fmt.Sprintf("/proc/%d/timerslack_ns", pid)); string(slack) != "1\n" {
			p.Errorf("worker %d has a timer slack of %q", pid, slack)
		}
	}
	const most = 80 * time.Millisecond
	if took := p.took(20500.5, most); took < 20500*time.Microsecond || took > most {
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
	const least, most = 60 * time.Millisecond, 110 * time.Millisecond
	deadline := time.Now().Add(patience)
	for inRow := 0; inRow < 10 && time.Now().Before(deadline); inRow++ { // until all have heard
		if p.work(30000) < least {
			inRow = -1
		}
	}
	if took := p.took(30000, most); took < least || took > most {
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

func (p proof) closes() {
	p.Helper()
	conn, reader := p.dial()
	defer conn.Close()
	response := p.exchange(conn, reader, "GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
	if _, err := io.Copy(io.Discard, response.Body); err != nil || !response.Close {
		p.Errorf("it keeps a connection (%v)", err)
	}
}

func (p proof) staysHTTP() {
	p.Helper()
	conn, reader := p.dial()
	defer conn.Close()
	response := p.exchange(conn, reader, upgrade)
	if response.StatusCode == http.StatusSwitchingProtocols {
		p.Error("it upgrades a connection")
	}
}

const upgrade = "GET /stream HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"

func (p proof) upgrades() {
	p.Helper()
	conn, reader := p.dial()
	defer conn.Close()
	response := p.exchange(conn, reader, upgrade)
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

func (p proof) hasNoReload() {
	p.Helper()
	if p.f.Reload != nil {
		p.Error("it has a Reload")
	}
}

func (p proof) hasNoGrow() {
	p.Helper()
	if p.f.Grow != nil {
		p.Error("it has a Grow")
	}
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
	p.kill(before[0])
	p.askAll(p.workers(len(before)))
}

// dwindles: a master may even end with its first worker.
func (p proof) dwindles() {
	p.Helper()
	before := p.present()
	p.kill(before[0])
	time.Sleep(300 * time.Millisecond)
	if now := p.present(); len(now) >= len(before) {
		p.Errorf("workers %v, were %v, and one was killed", now, before)
	}
}

// kill kills a worker, and waits until it is no worker any more.
func (p proof) kill(pid int) {
	p.Helper()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		p.Fatal(err)
	}
	for deadline := time.Now().Add(patience); slices.Contains(p.present(), pid); {
		if time.Now().After(deadline) {
			p.Fatalf("worker %d, killed, is still among %v", pid, p.present())
		}
		time.Sleep(10 * time.Millisecond)
	}
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

// servesOneAtATime: however many want to be served, a worker has accepted no
// more than it serves.
func servesOneAtATime(t *testing.T, c *Contender) {
	s := newSetup(t, 3)
	s.Serial = true
	p := proof{t, c, launch(t, s, c.Start)}
	open := openOf(p.workers(s.Workers))
	open.look(20)
	answered := make(chan error)
	for range 12 {
		go func() {
			_, err := Ask(p.f.Address, "/work?us=50000")
			answered <- err
		}()
	}
	for left := 12; left > 0; {
		select {
		case err := <-answered:
			if left--; err != nil {
				t.Error(err)
			}
		default:
			open.look(1)
		}
	}
	open.look(20)
	most := 0
	for _, o := range open {
		most = max(most, o.most-o.fewest)
	}
	if most != 1 {
		t.Errorf("a worker had %d connections at once", most)
	}
}

// opened is how many sockets a worker has open, and has had. At the fewest it was
// idle: before, it may not have closed the connection yet that found out that it
// is ready.
type opened struct{ now, fewest, most int }

// allOpened are those of some workers, by process ID.
type allOpened map[int]*opened

func openOf(pids []int) allOpened {
	all := make(allOpened)
	for _, pid := range pids {
		all[pid] = &opened{fewest: math.MaxInt}
	}
	return all
}

func (all allOpened) look(times int) {
	for range times {
		for pid, o := range all {
			o.now = openSockets(pid)
			o.fewest, o.most = min(o.fewest, o.now), max(o.most, o.now)
		}
		time.Sleep(time.Millisecond)
	}
}

// busy is how many workers have a connection.
func (all allOpened) busy() (n int) {
	for _, o := range all {
		if o.now > o.fewest {
			n++
		}
	}
	return n
}

func openSockets(pid int) (n int) {
	descriptors, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range descriptors {
		if target, _ := os.Readlink(fd); strings.HasPrefix(target, "socket:") {
			n++
		}
	}
	return n
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
