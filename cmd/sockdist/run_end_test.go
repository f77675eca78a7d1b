package main_test

import (
	"context"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/servers"
)

// The end waits for requests that are on their way, and meanwhile answers new ones.
func TestRunEndsInOrder(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	port := servers.FreePort(t, nil)
	a := flags("-n 2").start(t, "worker", "-delay=4s", "-listen", fmt.Sprint(":", port)).serves(port, 2)

	ledger := make(chan clients.Ledger)
	go func() {
		ledger <- clients.Load(context.Background(), local(port), clients.Limits{Count: 12, Concurrency: 12})
	}()
	until(t, "12 requests are on their way", func() bool { return a.connections(port) == 12 })
	a.signal(unix.SIGTERM)
	a.says("waiting up to 30s for 12 connections")
	late := clients.Load(t.Context(), local(port), clients.Limits{Count: 2, Concurrency: 2})
	if l := <-ledger; len(l.Lost()) > 0 {
		t.Errorf("requests that were on their way: %v", l)
	}
	if len(late.Lost()) > 0 {
		t.Errorf("requests that came during the end: %v", late)
	}
	if code := a.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestRunEndsAfterItsGrace(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	port := servers.FreePort(t, nil)
	a := flags("-n 2 --grace 300ms").start(t, "worker", "-listen", fmt.Sprint(":", port)).serves(port, 2)
	clients.Hold(t, local(port), 4)
	a.signal(unix.SIGINT)
	a.says("ending with 4 connections after 300ms")
	if code := a.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestRunEndsAtOnceAtTheSecondSignal(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	port := servers.FreePort(t, nil)
	a := flags("-n 2 --grace 1h").start(t, "worker", "-listen", fmt.Sprint(":", port)).serves(port, 2)
	clients.Hold(t, local(port), 4)
	a.signal(unix.SIGTERM)
	a.says("waiting up to 1h0m0s for 4 connections")
	a.signal(unix.SIGTERM)
	a.says("ending without waiting for connections")
	if code := a.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// A worker that ignores SIGTERM is killed: after a while, or at the third signal.
func TestRunEndsDeafWorkers(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	for name, signals := range map[string]int{"by itself": 1, "at the third signal": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := servers.FreePort(t, nil)
			a := flags("-n 2").start(t, "worker", "-deaf", "-listen", fmt.Sprint(":", port)).serves(port, 2)
			for i, said := range []string{"ending (", "ending without waiting", "killing the workers"}[:signals] {
				a.signal(unix.SIGTERM)
				a.says(said)
				if i == 0 && a.hasEnded() {
					t.Fatal("it ended at SIGTERM, so its workers aren't deaf")
				}
			}
			if signals == 1 {
				a.says("doesn't end within 10s of SIGTERM: killed")
			}
			if code := a.exit(); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}
