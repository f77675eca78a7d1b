package main_test

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/ledger"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// expectEven checks that these connections, and no others, are spread exactly
// evenly: by what the servers say, and by the kernel side's count.
func (a *app) expectEven(port int, held clients.Held) {
	a.t.Helper()
	group := a.group(port)
	want := make(map[int]int)
	for _, s := range group.Slots {
		if s.State.String() != "live" {
			continue
		}
		want[s.PID] = 0
	}
	for pid := range want {
		want[pid] = len(held) / len(want)
	}
	if got := held.PIDs(); !maps.Equal(got, want) {
		a.t.Errorf("connections by process: %v, want %v", got, want)
	}
	for _, s := range group.Slots {
		if int(s.Connections) != want[s.PID] || s.Pending != 0 {
			a.t.Errorf("slot %d has %d connections and %d pending, want %d and 0", s.Slot, s.Connections, s.Pending, want[s.PID])
		}
	}
}

// idle waits until no connection is left. Closes that a kernel keeps to itself
// are found by the supervisor every half minute, and where it is dead, by this.
func (a *app) idle(port int) {
	a.t.Helper()
	begin := time.Now()
	until(a.t, "no connection is left", func() bool {
		if a.hasEnded() && time.Since(begin) > patience/2 {
			if n := a.recount(); n > mostUnseen {
				a.t.Errorf("%d connections too many were counted", n)
			}
			begin = time.Now()
		}
		return a.connections(port) == 0
	})
}

// connections counts those of all slots, with those on their way in.
func (a *app) connections(port int) (n int) {
	a.t.Helper()
	for _, s := range a.group(port).Slots {
		n += int(s.Connections + s.Pending)
	}
	return n
}

// goesOn waits until the load has opened many more connections.
func (a *app) goesOn(port int) {
	a.t.Helper()
	before := a.picks(port)
	until(a.t, "the load goes on", func() bool { return a.picks(port) >= before+200 })
}

func (a *app) picks(port int) (n uint64) {
	a.t.Helper()
	for _, s := range a.group(port).Slots {
		n += s.Picks
	}
	return n
}

// of are the connections that a process has.
func of(pid int, held clients.Held) (theirs, others clients.Held) {
	for _, c := range held {
		if c.Answer.PID == pid {
			theirs = append(theirs, c)
		} else {
			others = append(others, c)
		}
	}
	return theirs, others
}

// traffic is a load that goes on in the background.
type traffic struct {
	t      testing.TB
	cancel context.CancelFunc
	ended  chan struct{}
	ledger clients.Ledger
}

// startTraffic opens some hundred connections a second, each for one question,
// until finish is called.
func startTraffic(t testing.TB, client clients.Client, server netip.AddrPort) *traffic {
	t.Helper()
	return startTrafficAt(t, client, server, 300)
}

func startTrafficAt(t testing.TB, client clients.Client, server netip.AddrPort, rate float64) *traffic {
	t.Helper()
	if client.Timeout == 0 {
		client.Timeout = 20 * time.Second
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &traffic{t: t, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(f.ended)
		f.ledger = client.Load(ctx, server, clients.Limits{
			Count: 100_000, Duration: time.Minute, Concurrency: 48, Rate: rate, Abrupt: true,
		})
	}()
	t.Cleanup(func() { f.finish() })
	return f
}

// finish ends the load and returns what became of every connection.
func (f *traffic) finish() clients.Ledger {
	f.cancel()
	<-f.ended
	return f.ledger
}

// expectAnswered checks that none was lost.
func (f *traffic) expectAnswered() {
	f.t.Helper()
	ledger := f.finish()
	if len(ledger) == 0 || len(ledger.Lost()) > 0 {
		f.t.Errorf("under load: %v, want all answered", ledger)
	}
}

// standstill is what a worker had when it was stopped.
type standstill struct {
	slot, pid int
	// accepted are the clients whose connections the worker had accepted, and
	// queued those whose connections no worker had.
	accepted, queued map[netip.AddrPort]bool
	death            death
}

// kill kills the worker, and waits for its end.
func (s *standstill) kill(t testing.TB) {
	t.Helper()
	s.death = killAndWait(t, s.pid)
}

// death is the time in which a worker that is killed dies. A busy machine may
// take long for it.
type death struct{ killed, dead time.Time }

// killAndWait kills a process, and waits for its end.
func killAndWait(t testing.TB, pid int) death {
	t.Helper()
	killed := time.Now()
	if _, err := ledger.KillWorker(pid); err != nil {
		t.Fatal(err)
	}
	return death{killed, time.Now()}
}

// met tells whether the exchange was under way when the worker was killed, or
// began while that died.
func (d death) met(e clients.Exchange) bool {
	return e.Ended.After(d.killed) && e.Started.Before(d.dead)
}

// expectAnsweredBut checks that nothing was lost but what was under way at a
// worker that was killed.
func (f *traffic) expectAnsweredBut(d death) {
	f.t.Helper()
	ledger := f.finish()
	if len(ledger) == 0 {
		f.t.Error("there was no load")
	}
	for _, e := range ledger.Lost() {
		if !d.met(e) {
			f.t.Errorf("lost, and not under way when a worker was killed at %s: %v", d.killed.Format("15:04:05.000000"), e)
		}
	}
}

// stop stops the worker of a slot by SIGSTOP while there is load, so that it is
// known exactly what it accepted, and waits until its accept queue has several
// connections. These it gets because some that it held are reset: then it has
// fewer than any other.
func (a *app) stop(port, slot, queue int, some clients.Held) standstill {
	a.t.Helper()
	s := a.slot(port, slot)
	stopProcess(a.t, s.PID)
	some.Reset()
	until(a.t, fmt.Sprintf("%d connections wait for worker %d", queue, slot), func() bool {
		return backlog(a.t, port, s.Cookie) >= queue
	})
	still := standstill{slot: slot, pid: s.PID, accepted: make(map[netip.AddrPort]bool), queued: make(map[netip.AddrPort]bool)}
	inodes := inodesOf(a.t, s.PID)
	for _, c := range connectionsAt(a.t, port) {
		client := netip.AddrPortFrom(c.Remote.Addr().Unmap(), c.Remote.Port())
		if c.Queued() {
			still.queued[client] = true
		} else if inodes[c.Inode] {
			still.accepted[client] = true
		}
	}
	return still
}

// stopProcess returns when no thread runs any more.
func stopProcess(t testing.TB, pid int) {
	t.Helper()
	if pid <= 0 {
		t.Fatalf("nobody has the process ID %d", pid)
	}
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	until(t, fmt.Sprintf("process %d is stopped", pid), func() bool {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		for _, thread := range threads {
			text, err := os.ReadFile(thread)
			if _, state, _ := strings.Cut(string(text), ") "); err == nil && !strings.HasPrefix(state, "T") {
				return false
			}
		}
		return len(threads) > 0
	})
}

// killProcess is a kill -9.
func killProcess(t testing.TB, pid int) {
	t.Helper()
	if pid <= 0 { // a whole group of processes, this one's too
		t.Fatalf("nobody has the process ID %d", pid)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func backlog(t testing.TB, port int, cookie uint64) int {
	t.Helper()
	var waiting uint32
	until(t, fmt.Sprintf("the socket with cookie %d listens at port %d", cookie, port), func() bool { // a rescue shuts it for a moment
		backlogs, err := sockets.Backlogs(uint16(port))
		if err != nil {
			t.Fatal(err)
		}
		n, listens := backlogs[cookie]
		waiting = n
		return listens
	})
	return int(waiting)
}

func connectionsAt(t testing.TB, port int) []sockets.Connection {
	t.Helper()
	found, err := sockets.Connections(sockets.Address{Port: uint16(port)})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// inodesOf are the sockets that a process has.
func inodesOf(t testing.TB, pid int) map[uint32]bool {
	t.Helper()
	inodes := make(map[uint32]bool)
	for _, link := range descriptors(t, pid) {
		var inode uint32
		if _, err := fmt.Sscanf(link, "socket:[%d]", &inode); err == nil {
			inodes[inode] = true
		}
	}
	return inodes
}

// descriptors are the open files of a process.
func descriptors(t testing.TB, pid int) map[string]string {
	t.Helper()
	folder := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	links := make(map[string]string)
	for _, entry := range entries {
		if link, err := os.Readlink(filepath.Join(folder, entry.Name())); err == nil {
			links[entry.Name()] = link
		}
	}
	return links
}

// expectSaved checks that the worker's death, after that standstill, cost only
// connections that it had accepted: the others were answered by somebody else.
// One may be lost whose handshake ended while the listener was being closed
// (docs/RELIABILITY.md).
func (f *traffic) expectSaved(still standstill) {
	f.t.Helper()
	ledger := f.finish()
	answered := make(map[netip.AddrPort]int)
	unlucky := 0
	for _, e := range ledger {
		switch {
		case e.Outcome == clients.Answered:
			answered[e.Local] = e.Answer.PID
		case still.accepted[e.Local]:
		case still.death.met(e) && unlucky == 0:
			unlucky++
			f.t.Logf("lost as the listener of worker %d closed: %v", still.pid, e)
		default:
			f.t.Errorf("lost, and not accepted by the killed worker %d: %v", still.pid, e)
		}
	}
	for client := range still.queued {
		if pid := answered[client]; pid == 0 || pid == still.pid {
			f.t.Errorf("%v waited in a queue when worker %d was stopped, and was answered by %d", client, still.pid, pid)
		}
	}
	f.t.Logf("%d connections waited in queues, %d were accepted by the killed worker, %d of %d were lost",
		len(still.queued), len(still.accepted), len(ledger.Lost()), len(ledger))
}
