package examples

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
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
			await(t, "two workers", func() bool { return w.picked(name, 0) })
			answers(t, address, e.newClient)
			l := startLoad(t, address, e.newClient)
			l.await(t, 200)
			if !l.failed() && !w.picked(name, 1) {
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

// A world is where sockdist keeps its state for one test.
type world struct {
	sockdist string
	env      []string
}

func newWorld(t testing.TB, sockdist string) *world {
	return &world{sockdist, append(os.Environ(), "SOCKDIST_RUNTIME_DIR="+t.TempDir())}
}

func (w *world) command(args ...string) *exec.Cmd {
	cmd := exec.Command(w.sockdist, args...)
	cmd.Env = w.env
	return cmd
}

func (w *world) do(t testing.TB, args ...string) {
	t.Helper()
	if output, err := w.command(args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, output)
	}
}

// picked tells whether a group has two live slots that had so many connections.
func (w *world) picked(of string, times int) bool {
	output, err := w.command("status", "--json").Output()
	if err != nil {
		return false
	}
	var status struct {
		Groups []struct {
			App, Name string
			Slots     []struct {
				State string
				Picks int
			}
		}
	}
	if json.Unmarshal(output, &status) != nil {
		return false
	}
	live := 0
	for _, g := range status.Groups {
		if g.App != of && g.Name != of {
			continue
		}
		for _, s := range g.Slots {
			if s.State == "live" && s.Picks >= times {
				live++
			}
		}
	}
	return live == 2
}
