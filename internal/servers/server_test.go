package servers_test

import (
	"errors"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/internal/servers"
)

// held is how many connections each server has to hold at once.
const held = 20

func TestSingleServers(t *testing.T) {
	for _, server := range servers.Single() {
		t.Run(server.String(), func(t *testing.T) {
			t.Parallel()
			p := servers.Start(t, server, 0)

			connections := clients.Hold(t, p.Address, held)
			if got, want := connections.PIDs(), map[int]int{p.PID: held}; !maps.Equal(got, want) {
				t.Errorf("connections by process: %v, want %v", got, want)
			}
			if ledger := connections.Ask(); len(ledger.With(clients.Answered)) != held {
				t.Errorf("asked again: %v, want all answered", ledger)
			}
			load := clients.Load(t.Context(), p.Address, clients.Limits{Count: 100, Concurrency: 4})
			if len(load.With(clients.Answered)) != 100 {
				t.Errorf("load: %v, want all answered", load)
			}

			p.Kill()
			if ledger := connections.Ask(); len(ledger.With(clients.Reset)) != held {
				t.Errorf("asked after the server was killed: %v, want all reset", ledger)
			}
			refused := clients.Load(t.Context(), p.Address, clients.Limits{Count: 1})
			if len(refused.With(clients.Refused)) != 1 {
				t.Errorf("connected after the server was killed: %v, want it refused", refused)
			}
		})
	}
}

func TestNginx(t *testing.T) {
	const workers = 3
	p := servers.StartNginx(t, workers)

	connections := clients.Hold(t, p.Address, 2*held)
	served := p.Workers()
	total := 0
	for pid, n := range connections.PIDs() {
		if !slices.Contains(served, pid) {
			t.Errorf("answered by %d, want one of the workers %v", pid, served)
		}
		total += n
	}
	if total != 2*held {
		t.Errorf("%d connections held, want %d", total, 2*held)
	}

	p.Stop()
	for _, pid := range append(served, p.PID) {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) && !zombie(pid) {
			t.Errorf("process %d after the stop: %v, want none", pid, err)
		}
	}
}

// The master's death leaves workers, which a stop ends too.
func TestStopEndsOrphans(t *testing.T) {
	p := servers.StartNginx(t, 2)
	orphans := p.Workers()
	p.Kill()
	clients.Hold(t, p.Address, 1)
	p.Stop()
	for _, pid := range orphans {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) && !zombie(pid) {
			t.Errorf("worker %d after the stop: %v, want none", pid, err)
		}
	}
}

// A process that is stopped can be ended all the same.
func TestStopEndsTheStopped(t *testing.T) {
	p := servers.Start(t, servers.Lighttpd, 0)
	if err := syscall.Kill(p.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	p.Stop()
	select {
	case <-p.Ended():
	default:
		t.Error("the server has not ended")
	}
}

// zombie tells whether a process has ended, and wasn't reaped by its parent.
func zombie(pid int) bool {
	text, err := os.ReadFile("/proc/" + itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(text), ") Z ")
}

func TestNginxListens(t *testing.T) {
	for name, c := range map[string]struct {
		listen []string
		host   string
	}{
		"IPv6 only":       {[]string{"[::]:{port} reuseport"}, "::1"},
		"both":            {[]string{"[::]:{port} reuseport ipv6only=off"}, "127.0.0.1"},
		"one listener":    {[]string{"127.0.0.1:{port}"}, "127.0.0.1"},
		"several of them": {[]string{"{port} reuseport", "[::]:{port} reuseport"}, "::1"},
	} {
		t.Run(name, func(t *testing.T) {
			options := servers.Options{Host: netip.MustParseAddr(c.host)}
			p := options.Start(t, servers.Nginx(2, c.listen...))
			clients.Hold(t, p.Address, held)
		})
	}
}

func TestStartInNamespace(t *testing.T) {
	ns := netns.New(t)
	p := servers.Options{In: ns}.Start(t, servers.Lighttpd)
	clients.Client{In: ns}.Hold(t, p.Address, held, 4)

	outside := clients.Load(t.Context(), p.Address, clients.Limits{Count: 1})
	if len(outside.With(clients.Answered)) != 0 {
		t.Errorf("answered out of the namespace: %v", outside)
	}
}

func TestStartShared(t *testing.T) {
	first := servers.StartNginx(t, 1)
	second := servers.Options{Port: first.Port(), Shared: true}.Start(t, servers.Nginx(1))

	// Each connection goes to one or the other at random.
	want := []int{first.Workers()[0], second.Workers()[0]}
	got := clients.Hold(t, first.Address, 100).PIDs()
	if len(got) != 2 || got[want[0]] == 0 || got[want[1]] == 0 {
		t.Errorf("connections by process: %v, want some at each of %v", got, want)
	}
}

func TestStartWithEnvironment(t *testing.T) {
	p := servers.Options{Env: []string{"SOCKDIST_SLOT=3"}}.Start(t, servers.Python)
	environment, err := os.ReadFile("/proc/" + itoa(p.PID) + "/environ")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(strings.Split(string(environment), "\x00"), "SOCKDIST_SLOT=3") {
		t.Errorf("environment %q has no SOCKDIST_SLOT=3", environment)
	}
}
