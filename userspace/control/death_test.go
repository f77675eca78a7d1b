package control_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/control/controltest"
	"github.com/sockdist/sockdist/userspace/control/output"
	"github.com/sockdist/sockdist/userspace/sockets"
)

func TestDeadWorkerStartsAgain(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	a := start(t, control.Config{Workers: 2, Command: []string{"test", "serve", address}}, new(controltest.Kernel))
	a.serving(address, 2)
	before := a.kernel.Seats()
	victim := a.pids()[1]

	if err := unix.Kill(victim, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	a.says(fmt.Sprintf("worker 1 (pid %d) was killed by SIGKILL", victim))
	a.until("worker 1 has another slot's socket", func() bool {
		for seat, listener := range a.kernel.Seats() {
			if seat.Slot == 1 && listener.Cookie != before[seat].Cookie {
				return true
			}
		}
		return false
	})
	status := a.Workers()
	if status[1].PID == victim || status[1].Stage == control.StageDown || status[1].Starts != 2 || status[0].Starts != 1 {
		t.Errorf("status is %+v", status)
	}
	a.says(fmt.Sprintf("worker 1 runs again (pid %d)", status[1].PID))
	notes := a.kernel.Notes()
	if n := len(notes); n != 3 || notes[2] != "adopt 1 "+address {
		t.Errorf("the kernel side was asked for %q", notes)
	}
}

// What a worker forked goes before the next one starts, even if the main
// process thinks that all is well.
func TestServerThatGoesIntoTheBackground(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	told := filepath.Join(t.TempDir(), "told") // to end, the main process of the moment
	a := start(t, control.Config{
		Workers: 1, Command: []string{"sh", "-c", `"$0" serve "$1" & until rm "$2" 2>/dev/null; do sleep 0.05; done`, os.Args[0], address, told},
	}, new(controltest.Kernel))
	a.serving(address, 1)
	child := 0
	for _, listener := range a.kernel.Seats() {
		child = listener.PID
	}
	if err := os.WriteFile(told, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a.says("tell it to stay in the foreground")
	a.until("the child is dead", func() bool { return !exists(child) })
	a.until("the worker starts again", func() bool { return a.Workers()[0].Starts >= 2 })
	a.until("the slot has the next child's listener", func() bool { return len(a.kernel.Notes()) >= 2 })
}

func TestWorkersThatNeverStart(t *testing.T) {
	t.Parallel()
	a := start(t, control.Config{
		Workers: 2, Command: []string{"sh", "-c", `echo hello; echo "no such thing: $SOCKDIST_SLOT" >&2; exit 3`},
	}, new(controltest.Kernel))
	err := a.result()
	var failed *control.StartError
	if !errors.As(err, &failed) {
		t.Fatalf("Run ended with %v, want a StartError", err)
	}
	if failed.Exit != "exited with status 3" {
		t.Errorf("exit is %q", failed.Exit)
	}
	want := []string{"hello", fmt.Sprintf("no such thing: %d", failed.Slot)}
	slices.Sort(failed.Output) // two pipes have no order
	if !slices.Equal(failed.Output, want) {
		t.Errorf("output is %q, want %q", failed.Output, want)
	}
	for _, line := range want {
		if !strings.Contains(err.Error(), line) {
			t.Errorf("%q isn't in the error %q", line, err)
		}
	}
}

// One worker that serves is reason enough to go on.
func TestOneWorkerThatStarts(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	a := start(t, control.Config{
		Workers: 2,
		Command: []string{"sh", "-c", `[ $SOCKDIST_SLOT = 0 ] && exec "$0" serve "$1"; exit 3`, os.Args[0], address},
	}, new(controltest.Kernel))
	a.serving(address, 1)
	a.until("worker 1 was started five times", func() bool { return a.Workers()[1].Starts >= 5 })
	select {
	case <-a.ended:
		t.Errorf("Run ended with %v", a.err)
	default:
	}
}

func TestCommandThatCannotRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("no program\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for command, want := range map[string]error{
		"/no/such/command": fs.ErrNotExist,
		text:               fs.ErrPermission,
		dir:                unix.EISDIR,
	} {
		if _, err := newApp(t, control.Config{Command: []string{command}}, new(controltest.Kernel)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", command, err, want)
		}
	}
}

// What only exec can find out undoes everything that was set up.
func TestCommandThatExecRefuses(t *testing.T) {
	t.Parallel()
	nonsense := filepath.Join(t.TempDir(), "nonsense")
	if err := os.WriteFile(nonsense, []byte("\x00\x01\x02"), 0o755); err != nil {
		t.Fatal(err)
	}
	kernel := new(controltest.Kernel)
	a := start(t, control.Config{Workers: 2, Command: []string{nonsense}}, kernel)
	if err := a.result(); !errors.Is(err, unix.ENOEXEC) {
		t.Errorf("Run ended with %v, want ENOEXEC", err)
	}
	if kernel.Opened() != 1 {
		t.Errorf("the kernel side was opened %d times", kernel.Opened())
	}
}

func TestPortThatIsTaken(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	kernel := new(controltest.Kernel)
	a := start(t, control.Config{Command: []string{"sleep", "600"}, Ports: []uint16{portOf(t, l.Addr().String())}}, kernel)
	err = a.result()
	if !errors.Is(err, control.ErrStranger) || !strings.Contains(err.Error(), fmt.Sprintf("(pid %d)", os.Getpid())) {
		t.Errorf("Run ended with %v, want an ErrStranger that names process %d", err, os.Getpid())
	}
	if kernel.Opened() != 0 {
		t.Error("the kernel side was opened")
	}
}

func TestStranger(t *testing.T) {
	t.Parallel()
	t.Run("before the app serves", func(t *testing.T) {
		shared := strangerAt(t, "127.0.0.1:0")
		a := start(t, control.Config{Workers: 1, Command: []string{"sleep", "600"}}, new(controltest.Kernel))
		a.until("workers are set up", func() bool { return len(a.Workers()) == 1 })
		a.kernel.Emit(control.Event{Kind: control.Stranger, Address: mustParseAddrPort(t, shared)})
		a.endsForStranger()
	})
	t.Run("without an event", func(t *testing.T) {
		shared := strangerAt(t, "127.0.0.1:0")
		a := start(t, control.Config{Workers: 1, Command: []string{"test", "serve", shared}}, new(controltest.Kernel))
		a.endsForStranger()
	})
	t.Run("on a part of the addresses", func(t *testing.T) {
		_, port, _ := strings.Cut(strangerAt(t, "127.0.0.1:0"), ":")
		a := start(t, control.Config{Workers: 1, Command: []string{"test", "serve", "0.0.0.0:" + port}}, new(controltest.Kernel))
		a.endsForStranger()
	})
	t.Run("when it serves", func(t *testing.T) {
		shared := freeAddress(t)
		a := start(t, control.Config{Workers: 1, Command: []string{"test", "serve", shared}}, new(controltest.Kernel))
		a.says("listening on " + shared)
		strangerAt(t, shared)
		a.kernel.Emit(control.Event{Kind: control.Stranger, Address: mustParseAddrPort(t, shared)})
		a.says(shared + " is taken by")
		select {
		case <-a.ended:
			t.Errorf("Run ended with %v", a.err)
		default:
		}
	})
}

// strangerAt listens outside of any app, with SO_REUSEPORT.
func strangerAt(t *testing.T, address string) string {
	t.Helper()
	stranger, err := listen(address, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stranger.Close() })
	return stranger.Addr().String()
}

func (a *app) endsForStranger() {
	a.t.Helper()
	err := a.result()
	if !errors.Is(err, control.ErrStranger) || !strings.Contains(err.Error(), fmt.Sprintf("(pid %d)", os.Getpid())) {
		a.t.Errorf("Run ended with %v, want an ErrStranger that names process %d", err, os.Getpid())
	}
	if seats := a.kernel.Seats(); len(seats) > 0 {
		a.t.Errorf("slots were taken: %v", seats)
	}
}

func TestNameThatIsTaken(t *testing.T) {
	t.Parallel()
	first := start(t, control.Config{Workers: 1, Command: []string{"sleep", "600"}}, new(controltest.Kernel))
	first.until("workers are set up", func() bool { return len(first.Workers()) == 1 })

	kernel := new(controltest.Kernel)
	second, err := control.New(control.Config{Name: first.name, Command: []string{"sleep", "600"}}, kernel)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); !errors.Is(err, cgroup.ErrInUse) {
		t.Errorf("Run ended with %v, want ErrInUse", err)
	}
	if kernel.Opened() != 0 {
		t.Error("the kernel side was opened")
	}
}

func TestWorkersThatAdoptRefuses(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	kernel := &controltest.Kernel{Refuse: func(slot int, _ sockets.Group) error {
		return fmt.Errorf("slot %d: no, because", slot)
	}}
	a := start(t, control.Config{Workers: 3, Command: []string{"test", "serve", address}}, kernel)
	a.says("no, because")
	a.until("all serve", func() bool { return strings.Count(a.prints.String(), "serving") == 3 })
	time.Sleep(50 * time.Millisecond)
	if n := strings.Count(a.log.String(), "no, because"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

// Where nothing can be steered, workers that share their port by the kernel's
// hash are not what was asked for.
func TestKernelThatCantSteer(t *testing.T) {
	t.Parallel()
	kernel := &controltest.Kernel{Refuse: func(int, sockets.Group) error {
		return fmt.Errorf("%w: too old", control.ErrUnable)
	}}
	a := start(t, control.Config{Workers: 3, Command: []string{"test", "serve", freeAddress(t)}}, kernel)
	if err := a.result(); !errors.Is(err, control.ErrUnable) {
		t.Errorf("Run ended with %v, want ErrUnable", err)
	}
}

// A hundred deaths leave nothing that the first one didn't have.
func TestDeathsLeaveNothing(t *testing.T) {
	const workers, deaths = 26, 100 // worker 0 lives
	a := start(t, control.Config{
		Workers: workers, Log: output.Plain,
		Command: []string{"sh", "-c", `[ $SOCKDIST_SLOT = 0 ] && exec sleep 600; sleep 1 & exit 3`},
	}, new(controltest.Kernel))
	starts := func() (sum int) {
		for _, w := range a.Workers() {
			sum += w.Starts
		}
		return sum
	}
	a.until("the first deaths", func() bool { return starts() >= 2*workers })
	files, routines := countFiles(t), runtime.NumGoroutine()
	a.until("100 deaths", func() bool { return starts() >= workers+deaths })

	// Both breathe: each start takes some for a moment.
	a.until("descriptors as before", func() bool { return countFiles(t) <= files+workers })
	a.until("goroutines as before", func() bool { return runtime.NumGoroutine() <= routines+2*workers })
	leaves, err := filepath.Glob(filepath.Join(a.cgroup(), "*", "cgroup.procs"))
	if err != nil || len(leaves) != workers {
		t.Errorf("%d leaves, %v, want %d", len(leaves), err, workers)
	}
	a.stop()
	if err := a.result(); err != nil {
		t.Error(err)
	}
}

func countFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}
