package control_test

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/control/controltest"
	"github.com/sockdist/sockdist/userspace/sockets"
)

func TestEachWorkerGetsItsSlot(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	a := start(t, control.Config{Workers: 3, Command: []string{"test", "serve", address}}, new(controltest.Kernel))
	a.serving(address, 3)
	pids := a.pids()
	a.says(fmt.Sprintf("listening on %s with 3 workers (pids %d %d %d)", address, pids[0], pids[1], pids[2]))

	if app := a.kernel.App(); app.Name != a.name || app.Cgroup != a.cgroup() {
		t.Errorf("the kernel side was opened for %+v", app)
	}
	for seat, listener := range a.kernel.Seats() {
		if listener.PID != pids[seat.Slot] {
			t.Errorf("slot %d was given to process %d, want %d", seat.Slot, listener.PID, pids[seat.Slot])
		}
		if start, err := sockets.StartTime(listener.PID); err != nil || start != listener.Start {
			t.Errorf("slot %d has start time %d, want %d, %v", seat.Slot, listener.Start, start, err)
		}
	}
	for slot, pid := range pids {
		if leaf := leafOf(t, pid); leaf != filepath.Join("/sockdist", a.name, strconv.Itoa(slot)) {
			t.Errorf("worker %d is in cgroup %s", slot, leaf)
		}
		// Else a stopped worker would get SIGHUP when its supervisor is killed.
		if session, err := unix.Getsid(pid); err != nil || session != pid {
			t.Errorf("worker %d is in session %d, %v, want %d", slot, session, err, pid)
		}
	}
	answer := ask(t, address)
	if slot, pid, _ := strings.Cut(answer, " "); strconv.Itoa(pids[number(t, slot)]) != pid {
		t.Errorf("the answer %q isn't of one of the workers %v", answer, pids)
	}
}

// A copy of a listener that stayed here would keep it open after its worker's
// death.
func TestNoCopyOfAListenerStays(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	a := start(t, control.Config{Workers: 2, Command: []string{"test", "serve", address}}, new(controltest.Kernel))
	a.serving(address, 2)

	// The copy by which a listener was adopted is closed a moment later, also by
	// processes that are being started then.
	var holders map[uint32][]sockets.Holder
	defer func() {
		if t.Failed() {
			t.Logf("the workers %v should be alone, the listeners are held by %+v", a.pids(), holders)
		}
	}()
	a.until("the workers alone have the listeners", func() bool {
		holders = holdersAt(t, address)
		for _, of := range holders {
			if len(of) != 1 || !slices.Contains(a.pids(), of[0].PID) {
				return false
			}
		}
		return len(holders) == 2
	})
}

// holdersAt returns who holds the listeners at an address, by inode.
func holdersAt(t *testing.T, address string) map[uint32][]sockets.Holder {
	t.Helper()
	found, err := sockets.Listeners(mustParse(t, address))
	if err != nil {
		t.Fatal(err)
	}
	var inodes []uint32
	for _, l := range found {
		inodes = append(inodes, l.Inode)
	}
	holders, err := sockets.Holders(inodes)
	if err != nil {
		t.Fatal(err)
	}
	return holders
}

func TestEnvironmentOfWorkers(t *testing.T) {
	t.Parallel()
	a := start(t, control.Config{
		Workers: 2,
		Command: []string{"sh", "-c", `echo "slot=$SOCKDIST_SLOT of=$SOCKDIST_WORKERS max=$GOMAXPROCS debug=$GODEBUG mine=$MINE"; exec sleep 600`},
		Env:     []string{"GODEBUG=http2client=0", "MINE=a=b"},
	}, new(controltest.Kernel))
	for slot := range 2 {
		want := fmt.Sprintf("[%d] slot=%d of=2 max=1 debug=http2client=0,multipathtcp=0 mine=a=b\n", slot, slot)
		a.until(want, func() bool { return strings.Contains(a.prints.String(), want) })
	}
}

func TestPythonServer(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	a := start(t, control.Config{Workers: 2, Command: []string{"python3", "-c", `
import http.server as h, socketserver
socketserver.TCPServer.allow_reuse_port = True
h.ThreadingHTTPServer(("127.0.0.1", ` + fmt.Sprint(portOf(t, address)) + `), h.SimpleHTTPRequestHandler).serve_forever()`}},
		new(controltest.Kernel))
	a.serving(address, 2)
}

// Without the bind hook of the real kernel side, Node doesn't share its port.
func TestListenerThatSharesNothing(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	a := start(t, control.Config{Workers: 1, Command: []string{"node", "-e",
		fmt.Sprintf(`require("http").createServer().listen(%d, "127.0.0.1")`, portOf(t, address))}},
		new(controltest.Kernel))
	a.says("worker 0's listener on " + address + " gets no slot: it doesn't share its port")
	if seats := a.kernel.Seats(); len(seats) > 0 {
		t.Errorf("slots are taken: %v", seats)
	}
}

func TestMPTCPListenerIsExplained(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	a := start(t, control.Config{Workers: 2, Command: []string{"test", "serve", "-mptcp", address}}, new(controltest.Kernel))
	a.says("set GODEBUG=multipathtcp=0")
	a.until("both workers serve", func() bool { return strings.Count(a.prints.String(), "serving") == 2 })
	if n := strings.Count(a.log.String(), "speaks MPTCP"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

func TestOnlyWantedPorts(t *testing.T) {
	t.Parallel()
	wanted, other := freeAddress(t), freeAddress(t)
	a := start(t, control.Config{
		Workers: 2, Ports: []uint16{portOf(t, wanted)},
		Command: []string{"test", "serve", other, wanted},
	}, new(controltest.Kernel))
	a.serving(wanted, 2)
	if slots := a.slots(other); len(slots) > 0 {
		t.Errorf("slots at a port that isn't wanted: %v", slots)
	}
	if ports := a.kernel.App().Ports; !slices.Equal(ports, []uint16{portOf(t, wanted)}) {
		t.Errorf("the kernel side was opened for ports %v", ports)
	}
}

func TestSeveralPorts(t *testing.T) {
	t.Parallel()
	one, two := freeAddress(t), freeAddress(t)
	a := start(t, control.Config{Workers: 2, Command: []string{"test", "serve", one, two}}, new(controltest.Kernel))
	a.serving(one, 2)
	a.serving(two, 2)
}

func TestListenersFromBeforeTheEvents(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	kernel := &controltest.Kernel{Deaf: true}
	a := start(t, control.Config{Workers: 2, Command: []string{"test", "serve", address}}, kernel)
	a.until("both workers serve", func() bool { return strings.Count(a.prints.String(), "serving") == 2 })
	// One event is enough: whatever else is there is found with it.
	found, err := sockets.Listeners(mustParse(t, address))
	if err != nil {
		t.Fatal(err)
	}
	kernel.Emit(control.Event{
		Kind: control.Listening, Cookie: found[0].Cookie, Cgroup: found[0].Cgroup, Address: found[0].Address,
	})
	a.serving(address, 2)
}

func TestEventsThatFail(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	kernel := &controltest.Kernel{Deaf: true}
	a := start(t, control.Config{Workers: 2, Command: []string{"test", "serve", address}}, kernel)
	a.until("workers are set up", func() bool { return len(a.Workers()) == 2 })
	kernel.Break(unix.EIO)
	a.says("the kernel's events can't be read")
	a.serving(address, 2)
}

func TestListenerThatIsOpenedAgain(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	a := start(t, control.Config{Workers: 1, Command: []string{"test", "serve", "-again", address}}, new(controltest.Kernel))
	a.serving(address, 1)
	a.reopens()
	want := []string{"adopt 0 " + address, "adopt 0 " + address}
	a.until("the second listener is adopted", func() bool { return slices.Equal(a.kernel.Notes(), want) })
	if starts := a.Workers()[0].Starts; starts != 1 {
		t.Errorf("the worker was started %d times", starts)
	}
}

// reopens has worker 0, started with -again, do so.
func (a *app) reopens() {
	a.t.Helper()
	if err := unix.Kill(a.pids()[0], unix.SIGUSR2); err != nil {
		a.t.Fatal(err)
	}
}

func TestSecondListenerAtOneAddress(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	a := start(t, control.Config{Workers: 1, Command: []string{"test", "serve", address, address}}, new(controltest.Kernel))
	a.serving(address, 1)
	a.says("with several sockets")
}

func TestSecondListenerTakesOver(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	a := start(t, control.Config{
		Workers: 1, Command: []string{"test", "serve", "-again", address, address},
	}, new(controltest.Kernel))
	a.says("with several sockets")
	a.reopens()
	a.until("another one is adopted", func() bool { return len(a.kernel.Notes()) >= 2 })
	if starts := a.Workers()[0].Starts; starts != 1 {
		t.Errorf("the worker was started %d times", starts)
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	port := portOf(t, freeAddress(t))
	a := start(t, control.Config{Workers: 1, Ports: []uint16{port}, Command: []string{"sleep", "600"}}, new(controltest.Kernel))
	a.says(fmt.Sprintf("no worker listens on port %d after 10s", port))
}

// What never becomes complete is told as it is.
func TestSomeListen(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	a := start(t, control.Config{
		Workers: 2,
		Command: []string{"sh", "-c", `[ $SOCKDIST_SLOT = 0 ] && exec "$0" serve "$1"; exec sleep 600`, os.Args[0], address},
	}, new(controltest.Kernel))
	a.serving(address, 1)
	a.says(fmt.Sprintf("listening on %s with 1 of 2 workers (pids %d)", address, a.pids()[0]))
}

func TestPin(t *testing.T) {
	t.Parallel()
	var mine unix.CPUSet
	if err := unix.SchedGetaffinity(0, &mine); err != nil {
		t.Fatal(err)
	}
	a := start(t, control.Config{Workers: 3, Pin: true, Command: []string{"sleep", "600"}}, new(controltest.Kernel))
	a.until("workers are set up", func() bool { return len(a.Workers()) == 3 })
	var cpus []int
	for cpu := range 1024 {
		if mine.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	for slot, pid := range a.pids() {
		var set unix.CPUSet
		if err := unix.SchedGetaffinity(pid, &set); err != nil {
			t.Fatal(err)
		}
		if want := cpus[slot%len(cpus)]; set.Count() != 1 || !set.IsSet(want) {
			t.Errorf("worker %d runs on %d CPUs, want CPU %d", slot, set.Count(), want)
		}
	}
}

func TestUser(t *testing.T) {
	t.Parallel()
	a := start(t, control.Config{
		Workers: 1, User: "nobody",
		Command: []string{"sh", "-c", `id -u; id -G; echo "$USER" > /dev/stdout; exec sleep 600`},
	}, new(controltest.Kernel))
	want := "[0] 65534\n[0] 65534\n[0] nobody\n"
	a.until("output "+want, func() bool { return a.prints.String() == want })
}

func mustParse(t *testing.T, address string) sockets.Address {
	t.Helper()
	parsed, err := sockets.ParseAddress(address)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func leafOf(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return path
		}
	}
	t.Fatalf("process %d is in no cgroup v2:\n%s", pid, text)
	return ""
}

func ask(t *testing.T, address string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func mustParseAddrPort(t *testing.T, address string) netip.AddrPort {
	t.Helper()
	parsed, err := netip.ParseAddrPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}
