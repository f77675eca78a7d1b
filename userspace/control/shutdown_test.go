package control_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/control/controltest"
)

func TestEndWaitsForConnections(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	a := start(t, control.Config{
		Workers: 2, Grace: time.Minute, Command: []string{"test", "serve", address},
	}, new(controltest.Kernel))
	a.serving(address, 2)
	a.kernel.SetConnections(1, 3)
	pids := a.pids()

	a.Signal(unix.SIGTERM)
	a.says("waiting up to 1m0s for 3 connections")
	if notes := a.kernel.Notes(); !slices.Contains(notes, "hold 0 leaving") || !slices.Contains(notes, "hold 1 leaving") {
		t.Errorf("the kernel side was asked for %q, want both held", notes)
	}
	ask(t, address) // clients notice nothing
	if !exists(pids[0]) || !exists(pids[1]) {
		t.Error("a worker is gone while connections are left")
	}

	a.kernel.SetConnections(1, 0)
	if err := a.result(); err != nil {
		t.Errorf("Run ended with %v", err)
	}
	if exists(pids[0]) || exists(pids[1]) {
		t.Error("a worker is left")
	}
	if notes := a.kernel.Notes(); notes[len(notes)-1] != "detach" {
		t.Errorf("the kernel side was asked for %q, want detach last", notes)
	}
}

func TestEndDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	a := start(t, control.Config{
		Workers: 1, Grace: 300 * time.Millisecond, Command: []string{"sleep", "600"},
	}, new(controltest.Kernel))
	a.until("workers are set up", func() bool { return len(a.Workers()) == 1 })
	a.kernel.SetConnections(0, 1)
	a.Signal(unix.SIGINT)
	if err := a.result(); err != nil {
		t.Errorf("Run ended with %v", err)
	}
	if !strings.Contains(a.log.String(), "ending with 1 connections after 300ms") {
		t.Error("the log doesn't say that connections were left")
	}
}

func TestSecondSignalHurries(t *testing.T) {
	t.Parallel()
	a := start(t, control.Config{
		Workers: 1, Grace: time.Hour, Command: []string{"sleep", "600"},
	}, new(controltest.Kernel))
	a.until("workers are set up", func() bool { return len(a.Workers()) == 1 })
	a.kernel.SetConnections(0, 1)
	a.Signal(unix.SIGTERM)
	a.says("waiting up to")
	a.Signal(unix.SIGTERM)
	if err := a.result(); err != nil {
		t.Errorf("Run ended with %v", err)
	}
}

func TestThirdSignalKills(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	a := start(t, control.Config{
		Workers: 1, Grace: time.Hour, StopTimeout: time.Hour, Command: []string{"test", "serve", "-deaf", address},
	}, new(controltest.Kernel))
	a.serving(address, 1)
	for range 3 {
		a.Signal(unix.SIGTERM)
	}
	if err := a.result(); err != nil {
		t.Errorf("Run ended with %v", err)
	}
	if !strings.Contains(a.log.String(), "was killed by SIGKILL") {
		t.Error("the log doesn't say that the worker was killed")
	}
}

func TestStubbornWorkerIsKilled(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	a := start(t, control.Config{
		Workers: 1, StopTimeout: 300 * time.Millisecond, Command: []string{"test", "serve", "-deaf", address},
	}, new(controltest.Kernel))
	a.serving(address, 1)
	a.Signal(unix.SIGTERM)
	if err := a.result(); err != nil {
		t.Errorf("Run ended with %v", err)
	}
	a.says("doesn't end within 300ms of SIGTERM: killed")
}

func TestStoppedWorkerEndsInOrder(t *testing.T) {
	t.Parallel()
	a := start(t, control.Config{
		Workers: 1, StopTimeout: time.Hour, Command: []string{"sleep", "600"},
	}, new(controltest.Kernel))
	a.until("workers are set up", func() bool { return len(a.Workers()) == 1 })
	if err := unix.Kill(a.pids()[0], unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	a.Signal(unix.SIGTERM)
	if err := a.result(); err != nil {
		t.Errorf("Run ended with %v", err)
	}
	a.says("was killed by SIGTERM")
}

// A shell doesn't pass the signal on: what it started gets its own.
func TestEndOfWhatTheMainProcessStarted(t *testing.T) {
	t.Parallel()
	const child = `sh -c 'trap "echo bye; exit" TERM; echo up; while :; do sleep 0.05; done' & `
	for name, main := range map[string]string{
		"shell that dies":  `wait`,
		"shell that stays": `trap : TERM; wait; wait`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := start(t, control.Config{
				Workers: 1, StopTimeout: 30 * time.Second, Command: []string{"sh", "-c", child + main},
			}, new(controltest.Kernel))
			a.until("the child is up", func() bool { return strings.Contains(a.prints.String(), "up") })
			a.Signal(unix.SIGTERM)
			if err := a.result(); err != nil {
				t.Errorf("Run ended with %v", err)
			}
			if !strings.Contains(a.prints.String(), "bye") {
				t.Error("the child got no SIGTERM")
			}
			if strings.Contains(a.log.String(), "SIGKILL") {
				t.Error("something was killed")
			}
		})
	}
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	a := start(t, control.Config{Workers: 1, Command: []string{"sleep", "600"}}, new(controltest.Kernel))
	a.until("workers are set up", func() bool { return len(a.Workers()) == 1 })
	if err := a.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := a.result(); err != nil {
		t.Errorf("Run ended with %v", err)
	}
}

func TestShutdownThatIsCutShort(t *testing.T) {
	t.Parallel()
	a := start(t, control.Config{Workers: 1, Grace: time.Hour, Command: []string{"sleep", "600"}}, new(controltest.Kernel))
	a.until("workers are set up", func() bool { return len(a.Workers()) == 1 })
	a.kernel.SetConnections(0, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := a.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown returned %v", err)
	}
	if err := a.result(); err != nil {
		t.Errorf("Run ended with %v", err)
	}
}

func TestShutdownBeforeRun(t *testing.T) {
	t.Parallel()
	kernel := new(controltest.Kernel)
	a, err := newApp(t, control.Config{Command: []string{"sleep", "600"}}, kernel)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := a.Run(t.Context()); err != nil || kernel.Opened() != 0 {
		t.Errorf("Run ended with %v, the kernel side was opened %d times", err, kernel.Opened())
	}
}

func TestUserSignalsArePassedOn(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	a := start(t, control.Config{Workers: 2, Command: []string{"test", "serve", "-usr1", address}}, new(controltest.Kernel))
	a.serving(address, 2)
	a.Signal(unix.SIGUSR1)
	a.until("both workers got it", func() bool { return strings.Count(a.prints.String(), "got SIGUSR1") == 2 })
}
