package examples

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sockdist/sockdist/internal/servers"
	"github.com/sockdist/sockdist/loader"
)

// A world is a sockdist that knows nothing of others on the machine.
type world struct {
	sockdist string
	runtime  string // folder
	env      []string
}

func newWorld(t testing.TB, sockdist string) *world {
	t.Helper()
	pins, err := loader.OpenTemporary("example")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pins.Remove(); err != nil {
			t.Error(err)
		}
	})
	folder, err := os.MkdirTemp("", "sockdist-example-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o755); err != nil { // others have to get at the socket
		t.Fatal(err)
	}
	w := &world{sockdist: sockdist, runtime: filepath.Join(folder, "run")}
	w.env = append(os.Environ(), "SOCKDIST_RUNTIME_DIR="+w.runtime, "SOCKDIST_DIR="+filepath.Dir(pins.Dir()))
	return w
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

// live counts the live slots of an app or group that had so many connections.
func (w *world) live(of string, picks int) (n int) {
	output, err := w.command("status", "--json").Output()
	if err != nil {
		return 0
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
		return 0
	}
	for _, g := range status.Groups {
		if g.App != of && g.Name != of {
			continue
		}
		for _, s := range g.Slots {
			if s.State == "live" && s.Picks >= picks {
				n++
			}
		}
	}
	return n
}

// group is the name of every library group here.
const group = "example"

// A served is a group of sockdist serve for workers of one example.
type served struct {
	*world
	t       testing.TB
	address string
	command []string
}

func newGroup(t testing.TB, sockdist string, e example) *served {
	t.Helper()
	g := &served{world: newWorld(t, sockdist), t: t, address: fmt.Sprintf("127.0.0.1:%d", servers.FreePort(t, nil))}
	g.command = append([]string{build(t, ".", "./"+e.folder), "-listen", g.address}, e.flags...)
	config := filepath.Join(t.TempDir(), "sockdist.yaml")
	text := fmt.Sprintf("groups: {%s: {listen: %q, users: [root]}}\n", group, g.address)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	awaitServing(t, start(t, g.world.command("serve", "--config", config)))
	return g
}

// awaitServing waits until a daemon has opened what it is to serve.
func awaitServing(t testing.TB, daemon *process) {
	t.Helper()
	await(t, "a daemon that serves", func() bool {
		text, err := os.ReadFile(daemon.output)
		return err == nil && strings.Contains(string(text), "serving: ")
	})
}

// start starts a worker.
func (g *served) start() *process {
	g.t.Helper()
	cmd := exec.Command(g.command[0], g.command[1:]...)
	cmd.Env = append(os.Environ(), "SOCKDIST_SOCKET="+filepath.Join(g.runtime, "control"))
	return start(g.t, cmd)
}
