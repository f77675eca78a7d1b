package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"time"

	"github.com/sockdist/sockdist/internal/ledger"
	"github.com/sockdist/sockdist/userspace/control"
)

// A profile is what kind of app it is.
type profile struct {
	server      ledger.Server
	workers     int
	ports       int
	flags       []string
	environment []string
	held        ledger.Held
	// hangsForGood: SIGUSR2 is a deadlock, and not a busy loop that ends.
	hangsForGood bool
}

// profiles are taken in turn.
var profiles = []profile{
	{
		server: ledger.Go, workers: 4, ports: 2, flags: []string{"--policy", "least", "--hang-grace", "2s"},
		environment: []string{"LEDGER_HANG=deadlock"}, hangsForGood: true,
		held: ledger.Held{Count: 12, Life: 3 * time.Second},
	},
	{
		server: ledger.Node, workers: 3, ports: 1, flags: []string{"--policy", "p2c", "--on-hang", "eject", "--pin"},
		environment: []string{"LEDGER_HANG=busy", "LEDGER_HANG_MS=1500"},
		held:        ledger.Held{Count: 12, Life: 4 * time.Second},
	},
	{
		server: ledger.Python, workers: 3, ports: 1, flags: []string{"--policy", "rr", "--ready", "/0.0", "--grace", "3s"},
		environment: []string{"LEDGER_HANG=busy", "LEDGER_HANG_MS=800"},
		held:        ledger.Held{Count: 8, Life: 6 * time.Second},
	},
	{
		server: ledger.Go, workers: 3, ports: 1, flags: []string{"--policy", "hash", "--hang-after", "0"},
		environment: []string{"LEDGER_HANG=busy", "LEDGER_HANG_MS=1000"},
		held:        ledger.Held{Count: 8, Life: 3 * time.Second},
	},
	{
		server: ledger.Node, workers: 4, ports: 1, flags: []string{"--policy", "random", "--on-hang", "ignore", "--ready", "/0.0"},
		environment: []string{"LEDGER_HANG=busy", "LEDGER_HANG_MS=2500"},
		held:        ledger.Held{Count: 8, Life: 2 * time.Second},
	},
}

// install makes the server's program; Go stands in for what isn't installed.
func (s *suite) install(server ledger.Server) (command []string, err error) {
	if server.String() == ledger.Go.String() && s.server != "" {
		return []string{s.server}, nil
	}
	folder := s.path("server-" + server.String())
	if command, done := s.installed[server.String()]; done {
		return command, nil
	}
	if err := os.Mkdir(folder, 0o755); err != nil {
		return nil, err
	}
	command, err = server.Install(folder)
	if errors.Is(err, exec.ErrNotFound) && server.String() != ledger.Go.String() {
		s.console.line("%s isn't installed here: Go takes its place", server)
		command, err = s.install(ledger.Go)
	}
	if err == nil {
		s.installed[server.String()] = command
	}
	return command, err
}

// newApp prepares the app with this number.
func (s *suite) newApp(number int) (*app, error) {
	own, err := s.newService(number)
	if err != nil {
		return nil, err
	}
	a := &app{service: own, profile: profiles[number%len(profiles)], knobs: s.path(own.name + "-knobs"), runtime: s.path(own.name + "-run")}
	a.held = a.profile.held
	program, err := s.install(a.profile.server)
	if err != nil {
		return nil, err
	}
	a.command = append([]string{}, program...)
	for i := range a.profile.ports {
		port, err := s.freePort()
		if err != nil {
			return nil, err
		}
		a.command = append(a.command, fmt.Sprint(port))
		if i == 0 {
			a.ends = both(port)
		} else {
			from := loopback4(byte(1 + i))
			a.ends = append(a.ends, endpoint{netip.AddrPortFrom(loopback4(1), uint16(port)), from})
		}
	}
	a.flags = append([]string{"-n", fmt.Sprint(a.profile.workers)}, a.profile.flags...)
	if s.slowness > 1 { // else all look hung
		a.flags = append(a.flags, "--hang-after", s.slow(control.DefaultHangAfter).String(), "--hang-grace", s.slow(2*time.Second).String())
	}
	if err := a.mountRuntime(); err != nil {
		return nil, err
	}
	// Appended to by one supervisor after the other.
	a.logFile, err = os.OpenFile(s.path(own.name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	return a, err
}
