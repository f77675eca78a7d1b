package control_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/internal/servers"
	"github.com/sockdist/sockdist/internal/transcript"
	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/control/controltest"
	"github.com/sockdist/sockdist/userspace/control/output"
)

// app is a supervisor under test, and all around it.
type app struct {
	*control.Supervisor
	t      *testing.T
	name   string
	kernel *controltest.Kernel
	log    *transcript.Text // what the supervisor says
	prints *transcript.Text // what the workers print
	ended  chan struct{}
	err    error // of Run, when it has ended
	stop   context.CancelFunc
}

var apps atomic.Int64

// newApp makes a supervisor of a name that nobody else has. The command's
// first word "test" stands for this binary.
func newApp(t *testing.T, config control.Config, kernel *controltest.Kernel) (*app, error) {
	t.Helper()
	privilege.Require(t)
	a := &app{
		t: t, kernel: kernel, log: new(transcript.Text), prints: new(transcript.Text), ended: make(chan struct{}),
		name: fmt.Sprintf("control-test-%d-%d", os.Getpid(), apps.Add(1)),
	}
	config.Name = a.name
	if config.Command[0] == "test" {
		config.Command = append([]string{os.Args[0]}, config.Command[1:]...)
	}
	if config.Log == output.Auto {
		config.Log = output.Prefix
	}
	if config.Stdout == nil {
		config.Stdout, config.Stderr = a.prints, a.prints
	}
	config.RuntimeDir = t.TempDir()
	config.Logger = slog.New(slog.NewTextHandler(a.log, &slog.HandlerOptions{Level: slog.LevelDebug}))

	var err error
	a.Supervisor, err = control.New(config, kernel)
	return a, err
}

// start runs the supervisor until the end of the test at the latest.
func start(t *testing.T, config control.Config, kernel *controltest.Kernel) *app {
	t.Helper()
	a, err := newApp(t, config, kernel)
	if err != nil {
		t.Fatal(err)
	}
	a.run()
	return a
}

func (a *app) run() {
	ctx, stop := context.WithCancel(context.Background())
	a.stop = stop
	go func() {
		defer close(a.ended)
		a.err = a.Run(ctx)
	}()
	a.t.Cleanup(func() {
		stop()
		a.result()
		if a.t.Failed() {
			a.t.Logf("log of %s:\n%s\noutput of its workers:\n%s", a.name, a.log, a.prints)
		}
	})
}

// result waits for the end of Run, looks whether it left anything, and returns
// its error.
func (a *app) result() error {
	a.t.Helper()
	select {
	case <-a.ended:
	case <-time.After(time.Minute):
		a.t.Fatalf("Run doesn't end; its log:\n%s", a.log)
	}
	if a.kernel.IsOpen() {
		a.t.Error("the kernel side isn't detached")
	}
	if _, err := os.Stat(a.cgroup()); err == nil {
		a.t.Errorf("%s is left", a.cgroup())
	}
	return a.err
}

func (a *app) cgroup() string {
	mount, err := cgroup.Find()
	if err != nil {
		a.t.Fatal(err)
	}
	return filepath.Join(mount.Dir, "sockdist", a.name)
}

// slots returns which slots are taken in the group at the address, in order.
func (a *app) slots(address string) []int {
	var slots []int
	for seat := range a.kernel.Seats() {
		if seat.Group.Address.String() == address {
			slots = append(slots, seat.Slot)
		}
	}
	slices.Sort(slots)
	return slots
}

// serving waits until the first n slots are taken.
func (a *app) serving(address string, n int) {
	a.t.Helper()
	want := make([]int, n)
	for i := range want {
		want[i] = i
	}
	a.until(fmt.Sprintf("slots %v at %s", want, address), func() bool {
		return slices.Equal(a.slots(address), want)
	})
}

func (a *app) says(text string) {
	a.t.Helper()
	a.until("log says "+text, func() bool { return strings.Contains(a.log.String(), text) })
}

func (a *app) until(what string, condition func() bool) {
	a.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			a.t.Fatalf("not in 30 s: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Workers returns those there are, by slot.
func (a *app) Workers() []control.WorkerState { return a.State().Workers }

// pids returns the main processes by slot.
func (a *app) pids() []int {
	var pids []int
	for _, w := range a.Workers() {
		pids = append(pids, w.PID)
	}
	return pids
}

// freeAddress returns a loopback address with a port that no other test takes.
func freeAddress(t *testing.T) string {
	t.Helper()
	return fmt.Sprint("127.0.0.1:", servers.FreePort(t, nil))
}

// exists tells whether the process lives; a zombie doesn't.
func exists(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return state != "" && state[0] != 'Z' && state[0] != 'X'
}

func portOf(t *testing.T, address string) uint16 {
	t.Helper()
	resolved, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(resolved.Port)
}
