package control_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/internal/transcript"
	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/control/controltest"
	"github.com/sockdist/sockdist/userspace/control/output"
)

// Within one process a supervisor hands its app over, several times: the next
// one has the same workers, and looks after them alone.
func TestHandOverInProcess(t *testing.T) {
	t.Parallel()
	privilege.Require(t)
	address := freeAddress(t)
	name := fmt.Sprintf("control-test-%d-%d", os.Getpid(), apps.Add(1))
	kernel, log, prints := new(controltest.Kernel), new(transcript.Text), new(transcript.Text)
	runtime := t.TempDir()
	next := func(workers int) *app {
		a := &app{t: t, name: name, kernel: kernel, log: log, prints: prints, ended: make(chan struct{})}
		var err error
		a.Supervisor, err = control.New(control.Config{
			Name: name, Command: []string{os.Args[0], "serve", address}, Workers: workers, RuntimeDir: runtime,
			Log: output.Prefix, Stdout: prints, Stderr: prints,
			Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		}, kernel)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer close(a.ended)
			a.err = a.Run(t.Context())
		}()
		return a
	}
	a := next(2)
	t.Cleanup(func() {
		_ = a.Shutdown(t.Context())
		if err := a.result(); err != nil {
			t.Error(err)
		}
	})
	a.serving(address, 2)
	pids := a.pids()
	for range 3 {
		before := a
		before.HandOver()
		<-before.ended
		if !errors.Is(before.err, control.ErrHandedOver) {
			t.Fatalf("it ended with %v", before.err)
		}
		before.HandOver() // again: nothing happens
		a = next(2)
		<-a.Started()
		a.serving(address, 2)
		if now := a.pids(); !slices.Equal(now, pids) {
			t.Fatalf("the workers were %v, they are %v", pids, now)
		}
	}

	// One of four supervisors sees the death and starts the worker again.
	if err := unix.Kill(pids[0], unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	a.until("worker 0 runs again", func() bool {
		now := a.pids()
		return len(now) == 2 && now[0] != pids[0] && slices.Equal(a.slots(address), []int{0, 1})
	})
	a.says("worker 0 runs again")
	deaths := strings.Count(log.String(), fmt.Sprintf("worker 0 (pid %d) was killed by SIGKILL", pids[0]))
	if again := strings.Count(log.String(), "worker 0 runs again"); deaths != 1 || again != 1 {
		t.Errorf("the death was seen %d times, and %d times the worker was started again", deaths, again)
	}

	// What was configured meanwhile is what the next one begins with.
	if err := a.Configure(t.Context(), 3, func(string) {}); err != nil {
		t.Fatal(err)
	}
	a.HandOver()
	a = next(3)
	<-a.Started()
	a.serving(address, 3)
}
