package examples

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

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
