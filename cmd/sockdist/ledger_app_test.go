package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/ledger"
	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/internal/servers"
	"github.com/sockdist/sockdist/loader"
)

// booked is an app whose workers record what they accept, with clients that
// keep the books of every connection to it.
type booked struct {
	*app
	port    int
	workers int
	records string // folder
	seed    uint64
	random  *rand.Rand

	numbers uint64 // of the next load
	held    []*ledger.Run
	books   []*ledger.Book
	kills   []ledger.Kill
}

// startBooked starts n workers of a server that records. What is random is
// repeated by the seed that it logs.
func (s setup) startBooked(t testing.TB, server ledger.Server, n int) *booked {
	t.Helper()
	needPrograms(t)
	command, err := server.Install(t.TempDir())
	if errors.Is(err, exec.ErrNotFound) {
		privilege.Tool(t, server.String())
	}
	if err != nil {
		t.Fatal(err)
	}
	b := &booked{port: servers.FreePort(t, nil), workers: n, records: t.TempDir(), seed: seed(t), numbers: 1}
	b.random = rand.New(rand.NewPCG(b.seed, 0))
	s.flags = append([]string{"-n", fmt.Sprint(n)}, s.flags...)
	s.env = append(s.env, ledger.FolderVariable+"="+b.records)
	b.app = s.start(t, append(command, fmt.Sprint(b.port))...).serves(b.port, n)
	b.live()
	return b
}

// seed is SOCKDIST_SEED, or a new one, which is logged.
func seed(t testing.TB) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(os.Getenv("SOCKDIST_SEED"), 10, 64)
	if err != nil {
		n = rand.Uint64()
	}
	t.Logf("to repeat it: SOCKDIST_SEED=%d", n)
	return n
}

// live waits until all workers get connections.
func (b *booked) live() {
	b.t.Helper()
	until(b.t, fmt.Sprintf("%d slots are live", b.workers), func() bool {
		n := 0
		for _, s := range b.group(b.port).Slots {
			if s.State.String() == "live" {
				n++
			}
		}
		return n == b.workers
	})
}

// load begins a load over IPv4 and another over IPv6, with half of the rate each.
func (b *booked) load(rate float64, held ledger.Held) (runs []*ledger.Run) {
	b.t.Helper()
	for _, host := range []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()} {
		b.seed++
		r, err := ledger.Start(ledger.Load{
			Server: netip.AddrPortFrom(host, uint16(b.port)), Rate: rate / 2, Seed: b.seed, First: b.numbers, Held: held,
		})
		if err != nil {
			b.t.Fatal(err)
		}
		b.numbers += 1 << 32
		b.t.Cleanup(func() { r.Finish() })
		runs = append(runs, r)
	}
	return runs
}

// hold opens 2n connections that stay, and waits for all of them.
func (b *booked) hold(n int, life ledger.Held) {
	b.t.Helper()
	life.Count = n
	b.held = append(b.held, b.load(0, life)...)
	until(b.t, "connections are held", func() bool {
		for _, r := range b.held {
			if r.Progress().Exchanges < int64(2*n) {
				return false
			}
		}
		return true
	})
}

// finish ends loads and keeps their books.
func (b *booked) finish(runs []*ledger.Run) {
	for _, r := range runs {
		b.books = append(b.books, r.Finish())
	}
}

// victim is one of the live workers.
func (b *booked) victim() int {
	b.t.Helper()
	var pids []int
	for _, s := range b.group(b.port).Slots {
		if s.State.String() == "live" {
			pids = append(pids, s.PID)
		}
	}
	return pids[b.random.IntN(len(pids))]
}

// kill is a kill -9 of a live worker, which is stopped for a while before. It
// waits until another has its slot.
func (b *booked) kill(stopped time.Duration) {
	b.t.Helper()
	pid := b.victim()
	if stopped > 0 {
		stopProcess(b.t, pid)
		time.Sleep(stopped)
	}
	k, err := ledger.KillWorker(pid)
	if err != nil {
		b.t.Fatal(err)
	}
	b.kills = append(b.kills, k)
	b.replaced(pid)
}

// replaced waits until a worker has no slot any more, and all are live.
func (b *booked) replaced(pid int) {
	b.t.Helper()
	until(b.t, "the worker's slot is another's", func() bool {
		for _, s := range b.group(b.port).Slots {
			if s.PID == pid {
				return false
			}
		}
		return true
	})
	b.live()
}

// expectNoneRefused checks what the kernel side counts of misfortunes.
func (b *booked) expectNoneRefused() {
	b.t.Helper()
	group := b.group(b.port)
	if group.MigrateFailed > 0 || group.Refused > 0 || group.Fallback > 0 {
		b.t.Errorf("%d moves failed, %d connections were refused, %d left to the kernel's hash", group.MigrateFailed, group.Refused, group.Fallback)
	}
}

// settle ends all loads and balances the books, which must balance.
func (b *booked) settle() (*ledger.Book, *ledger.Report) {
	b.t.Helper()
	b.finish(b.held)
	b.held = nil
	b.idle(b.port)
	records, err := ledger.ReadRecords(b.records)
	if err != nil {
		b.t.Fatal(err)
	}
	book := ledger.Merge(b.books...)
	balance := book.Balance(records, b.kills...)
	report := book.Report(balance)
	b.t.Log(report.Verdict())
	for _, fault := range balance.Faults {
		b.t.Errorf("the books don't balance: %s", fault)
	}
	if b.t.Failed() {
		b.keep(report)
	}
	return book, report
}

// keep writes the report where it can be read after the test.
func (b *booked) keep(report *ledger.Report) {
	file, err := os.CreateTemp("", b.name+"-ledger-*.json")
	if err != nil {
		b.t.Log(err)
		return
	}
	defer file.Close()
	if err := report.WriteJSON(file); err != nil {
		b.t.Log(err)
	}
	b.t.Logf("report: %s", file.Name())
}

// expectOnlyKilledLost checks that whatever is lost had been accepted by a
// worker that was killed.
func (b *booked) expectOnlyKilledLost(book *ledger.Book) {
	b.t.Helper()
	killed := make(map[int]bool)
	for _, k := range b.kills {
		killed[k.PID] = true
	}
	shown := 0
	for _, e := range book.Losses() {
		// One that hangs for longer than a client waits is killed only then.
		if (e.Column == ledger.ResetAfterAccept || e.Column == ledger.TimedOut) && killed[e.AcceptedBy] {
			continue
		}
		if shown++; shown <= 20 {
			b.t.Errorf("lost, and not accepted by a killed worker: %v, opened %v after the begin", e, e.Started.Sub(book.Begin))
		}
	}
	if shown > 20 {
		b.t.Errorf("… and %d more", shown-20)
	}
}

// expectExact waits until the counts of all slots are what sock_diag says. New
// connections must have ended before, held ones may speak.
func (b *booked) expectExact() {
	b.t.Helper()
	var counted, real map[int]int
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		before := b.real()
		counted, real = b.counted(), b.real()
		if maps.Equal(counted, real) && maps.Equal(before, real) {
			return
		}
	}
	if n := b.unseenCloses(counted, real); n > 0 && maps.Equal(b.counted(), b.real()) {
		b.t.Logf("the kernel told no program of %d closes: counted %v, sock_diag has %v", n, counted, real)
		return
	}
	b.t.Fatalf("connections by process: counted %v, sock_diag has %v (0: nobody's)", counted, real)
}

// mostUnseen is how many closes a kernel may keep to itself: see
// docs/ARCHITECTURE.md, "Exact counts".
const mostUnseen = 16

// unseenCloses takes off counts what no socket has by its storage, which is the
// mark of a close that no program was run for, and of no mistake of ours. Only
// counts that are too high can be that.
func (b *booked) unseenCloses(counted, real map[int]int) (corrected int) {
	b.t.Helper()
	for pid, n := range real {
		if counted[pid] < n {
			return 0
		}
	}
	corrected = b.recount()
	if corrected > mostUnseen {
		return 0
	}
	return corrected
}

// recount returns how many connections too many were counted, and no more are.
func (a *app) recount() (corrected int) {
	a.t.Helper()
	host, err := loader.Open(loader.Options{Dir: a.pins})
	if err != nil {
		a.t.Fatal(err)
	}
	defer host.Close()
	for name := range a.groups() {
		g, err := host.Group(name)
		if err != nil {
			a.t.Fatal(err)
		}
		n, err := g.Recount()
		g.Close()
		if err != nil {
			a.t.Fatal(err)
		}
		corrected += n
	}
	return corrected
}

// counted is what status says: connections, with those on their way, by process.
func (b *booked) counted() map[int]int {
	b.t.Helper()
	var status struct {
		Groups []struct {
			Slots []struct{ PID, Connections, Pending int }
		}
	}
	if err := json.Unmarshal([]byte(b.verb("status", "--json")), &status); err != nil {
		b.t.Fatal(err)
	}
	counts := make(map[int]int)
	for _, g := range status.Groups {
		for _, s := range g.Slots {
			if n := s.Connections + s.Pending; n > 0 {
				counts[s.PID] += n
			}
		}
	}
	return counts
}

// real is what the kernel has, by process; under 0 those that nobody has.
func (b *booked) real() map[int]int {
	b.t.Helper()
	owner := make(map[uint32]int)
	for _, s := range b.group(b.port).Slots {
		for _, link := range openFiles(s.PID) {
			var inode uint32
			if _, err := fmt.Sscanf(link, "socket:[%d]", &inode); err == nil {
				owner[inode] = s.PID
			}
		}
	}
	counts := make(map[int]int)
	for _, c := range connectionsAt(b.t, b.port) {
		if c.Local.Port() == uint16(b.port) {
			counts[owner[c.Inode]]++
		}
	}
	return counts
}

// openFiles are the descriptors of a process, none if it has ended.
func openFiles(pid int) (links []string) {
	folder := fmt.Sprintf("/proc/%d/fd", pid)
	entries, _ := os.ReadDir(folder)
	for _, entry := range entries {
		if link, err := os.Readlink(folder + "/" + entry.Name()); err == nil {
			links = append(links, link)
		}
	}
	return links
}

// long is for the full measure of a test: SOCKDIST_LONG=1.
func long() bool { return os.Getenv("SOCKDIST_LONG") != "" }

// together has a test run beside others, unless it is long and needs the machine.
func together(t *testing.T) {
	if !long() {
		t.Parallel()
	}
}

// eachServer runs a check for every server that records, at once unless the
// test is long and needs the machine.
func eachServer(t *testing.T, check func(t *testing.T, server ledger.Server)) {
	onServers(t, ledger.Servers(), check)
}

// oneServer runs a check for one server, and for every server if the test is long.
func oneServer(t *testing.T, server ledger.Server, check func(t *testing.T, server ledger.Server)) {
	if long() {
		eachServer(t, check)
		return
	}
	onServers(t, []ledger.Server{server}, check)
}

func onServers(t *testing.T, all []ledger.Server, check func(t *testing.T, server ledger.Server)) {
	for _, server := range all {
		t.Run(server.String(), func(t *testing.T) {
			together(t)
			check(t, server)
		})
	}
}
