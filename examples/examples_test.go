package examples

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/internal/servers"
)

type example struct {
	name       string
	folder     string
	flags      []string
	newClient  func(string) client
	rebalances bool
}

var all = []example{
	{"nethttp", "nethttp", nil, newHTTP, false},
	{"http2", "http2", nil, newHTTP2, true},
	{"h2c", "http2", []string{"-h2c"}, newH2C, true},
	{"grpc", "grpc", nil, newGRPC, true},
	{"websocket", "websocket", nil, newWS, true},
	{"fasthttp", "fasthttp", nil, newHTTP, false},
}

// Without sockdist an example is an ordinary server. On SIGTERM it answers all
// that it has been asked.
func TestPlain(t *testing.T) {
	for _, e := range all {
		t.Run(e.name, func(t *testing.T) {
			address := fmt.Sprintf("127.0.0.1:%d", servers.FreePort(t, nil))
			server := start(t, exec.Command(build(t, ".", "./"+e.folder), append(e.flags, "-listen", address)...))
			answers(t, address, e.newClient)
			l := startLoad(t, address, e.newClient)
			l.await(t, 200)
			server.terminate()
			await(t, "clients that find nobody", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.errs) == clients })
			for _, err := range l.finish() {
				if !turnedAway(err) {
					t.Errorf("lost: %v", err)
				}
			}
		})
	}
}

// Two workers that run by themselves join a group of sockdist serve, and share
// the clients. One gets SIGTERM, and no client notices.
func TestServe(t *testing.T) {
	privilege.Require(t)
	sockdist := build(t, "..", "./cmd/sockdist")
	for _, e := range all {
		t.Run(e.name, func(t *testing.T) {
			g := newGroup(t, sockdist, e)
			workers := []*process{g.start(), g.start()}
			await(t, "two workers", func() bool { return g.live(group, 0) == 2 })
			l := startLoad(t, g.address, e.newClient)
			l.await(t, 200)
			if !l.failed() && g.live(group, 1) != 2 {
				t.Error("not both workers are picked")
			}
			workers[0].terminate()
			l.await(t, 200)
			for _, err := range l.finish() {
				t.Errorf("lost: %v", err)
			}
			if n := g.live(group, 0); n != 1 {
				t.Errorf("%d workers are live, want the one that stays", n)
			}
			workers[1].terminate()
		})
	}
}

// A worker that came late gets some of the kept connections, where the example
// rebalances, and no client notices.
func TestRebalance(t *testing.T) {
	privilege.Require(t)
	sockdist := build(t, "..", "./cmd/sockdist")
	for _, e := range all {
		if !e.rebalances {
			continue
		}
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			g := newGroup(t, sockdist, e)
			g.start()
			await(t, "a worker", func() bool { return g.live(group, 0) == 1 })
			l := startLoad(t, g.address, e.newClient)
			l.await(t, 200)
			g.start()
			await(t, "two workers that both have connections", func() bool { return g.live(group, 2) == 2 || l.failed() })
			l.await(t, 200)
			for _, err := range l.finish() {
				t.Errorf("lost: %v", err)
			}
		})
	}
}

// Under sockdist run, two workers share the clients, and a reload loses none.
func TestRun(t *testing.T) {
	privilege.Require(t)
	sockdist := build(t, "..", "./cmd/sockdist")
	for _, e := range all {
		t.Run(e.name, func(t *testing.T) {
			w := newWorld(t, sockdist)
			address := fmt.Sprintf("127.0.0.1:%d", servers.FreePort(t, nil))
			name := fmt.Sprintf("example-%s-%d", e.name, os.Getpid())
			command := append([]string{"run", "--name", name, "-n", "2", "--log", "plain", "--", build(t, ".", "./"+e.folder), "-listen", address}, e.flags...)
			supervisor := start(t, w.command(command...))
			await(t, "two workers", func() bool { return w.live(name, 0) == 2 })
			answers(t, address, e.newClient)
			l := startLoad(t, address, e.newClient)
			l.await(t, 200)
			if !l.failed() && w.live(name, 1) != 2 {
				t.Error("not both workers are picked")
			}
			w.do(t, "reload", name)
			l.await(t, 200)
			for _, err := range l.finish() {
				t.Errorf("lost: %v", err)
			}
			supervisor.terminate()
		})
	}
}
