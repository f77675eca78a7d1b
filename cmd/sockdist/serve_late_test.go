package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/servers"
)

// Library workers that were there before the daemon, as ordinary servers, are in
// its group when it comes, and those who were being served notice nothing.
func TestServeComesAfterItsWorkers(t *testing.T) {
	together(t)
	s := newServed(t)
	api := servers.FreePort(t, nil)
	s.configure(fmt.Sprintf("socket: {mode: \"0666\"}\ngroups:\n  %s-api: {listen: \"127.0.0.1:%d\", users: [nobody]}\n", s.name, api))
	var early []*exec.Cmd
	for range 3 {
		early = append(early, s.member(nobody, api, true))
	}
	load := startTraffic(t, clients.Client{}, local(api))
	s.start()
	s.has(api, 3)
	s.ready()
	s.member(nobody, api, true) // gets a listener of the daemon's
	s.has(api, 4)
	for _, m := range early {
		if err := m.Process.Signal(unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "those of before have ended", func() bool {
		return !slices.ContainsFunc(early, func(m *exec.Cmd) bool { return unix.Kill(m.Process.Pid, 0) == nil })
	})
	load.expectAnswered()
}

// One that may not join is in the way until it ends.
func TestServeComesAfterAStranger(t *testing.T) {
	together(t)
	const daemon = 1
	s := newServed(t)
	api := servers.FreePort(t, nil)
	s.configure(fmt.Sprintf("socket: {mode: \"0666\"}\ngroups:\n  %s-api: {listen: \"127.0.0.1:%d\", users: [nobody]}\n", s.name, api))
	stranger := s.member(daemon, api, true)
	s.start()
	s.says("is taken by")
	until(t, "it is told that it may not join", func() bool { return strings.Contains(read(stranger.Stdout.(*os.File)), "not allowed") })
	if err := stranger.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.ready()
	s.member(nobody, api, true)
	s.has(api, 1)
}
