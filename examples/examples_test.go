package examples

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/internal/servers"
)

var all = []struct {
	name      string
	folder    string
	flags     []string
	newClient func(string) client
}{
	{"nethttp", "nethttp", nil, newHTTP},
	{"http2", "http2", nil, newHTTP2},
	{"h2c", "http2", []string{"-h2c"}, newH2C},
	{"grpc", "grpc", nil, newGRPC},
	{"websocket", "websocket", nil, newWS},
	{"fasthttp", "fasthttp", nil, newHTTP},
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
			w := newWorld(t, sockdist)
			address := fmt.Sprintf("127.0.0.1:%d", servers.FreePort(t, nil))
			config := filepath.Join(t.TempDir(), "sockdist.yaml")
			text := fmt.Sprintf("groups: {example: {listen: %q, users: [root]}}\n", address)
			if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			start(t, w.command("serve", "--config", config))
			var workers []*process
			for range 2 {
				cmd := exec.Command(build(t, ".", "./"+e.folder), append(e.flags, "-listen", address)...)
				cmd.Env = append(os.Environ(), "SOCKDIST_SOCKET="+filepath.Join(w.runtime, "control"))
				workers = append(workers, start(t, cmd))
			}
			await(t, "two workers", func() bool { return w.live("example", 0) == 2 })
			l := startLoad(t, address, e.newClient)
			l.await(t, 200)
			if !l.failed() && w.live("example", 1) != 2 {
				t.Error("not both workers are picked")
			}
			workers[0].terminate()
			l.await(t, 200)
			for _, err := range l.finish() {
				t.Errorf("lost: %v", err)
			}
			if n := w.live("example", 0); n != 1 {
				t.Errorf("%d workers are live, want the one that stays", n)
			}
			workers[1].terminate()
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
