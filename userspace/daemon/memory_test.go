package daemon

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/sockdist/sockdist/userspace/config"
)

const everything = `
apps: {a: {command: [sh, -c, exit], env: {A: "1"}, ports: [80], grace: 5s, scale-at: 80%, max: 3, memory-max: 1G}}
groups: {g: {listen: "tcp6://:81", policy: rr, users: [1], groups: [2, 3], hang-after: 0}}
attach: {n: {address: ":82", policy: p2c, pids: [7], netns: blue}, m: {address: "[::1]:83"}}
`

// What is remembered is what was applied, in all that counts for a comparison.
func TestMemory(t *testing.T) {
	runtime := t.TempDir()
	m, err := recall(runtime)
	if err != nil {
		t.Fatal(err)
	}
	f, err := config.Parse("f", []byte(everything))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.change(func() {
		m.Apps["a"], m.Groups["g"], m.Attach["n"], m.Attach["m"] = f.Apps[0], f.Groups[0], f.Attach[0], f.Attach[1]
	}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(m.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file, which has environments in it: %v, %v", info, err)
	}
	again, err := recall(runtime)
	if err != nil {
		t.Fatal(err)
	}
	if d := compareApps(again.Apps["a"], f.Apps[0]); len(d.keys) > 0 {
		t.Errorf("the app differs in %s", d.words())
	}
	if !sameGroup(again.Groups["g"], f.Groups[0]) {
		t.Errorf("the group is %+v, was %+v", again.Groups["g"], f.Groups[0])
	}
	for _, a := range f.Attach {
		if !sameAttachment(again.Attach[a.Name], a) {
			t.Errorf("the attachment is %+v, was %+v", again.Attach[a.Name], a)
		}
	}
	if err := again.change(func() { clear(again.Apps); clear(again.Groups); clear(again.Attach) }); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(runtime); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A file that can't be read is as none, and said.
func TestMemoryOfNonsense(t *testing.T) {
	for _, text := range []string{"", "{", `{"version":2}`, `{"version":1,"apps":[]}`} {
		runtime := t.TempDir()
		if err := os.WriteFile(filepath.Join(runtime, "serve.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := recall(runtime)
		if err == nil || !strings.Contains(err.Error(), "serve.json") || !reflect.DeepEqual(m.Apps, map[string]config.App{}) {
			t.Errorf("%q: %v, %v", text, m.Apps, err)
		}
	}
}

// That it can't be written is said once, and again after it could.
func TestMemoryOnFullDisk(t *testing.T) {
	m, err := recall(filepath.Join(t.TempDir(), "none"))
	if err != nil {
		t.Fatal(err)
	}
	add := func() { m.Apps["a"] = config.App{} }
	if err := m.change(add); err == nil {
		t.Error("it was written into a folder that isn't there")
	}
	if err := m.change(add); err != nil {
		t.Errorf("said again: %v", err)
	}
	if err := os.Mkdir(filepath.Dir(m.path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := m.change(add); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(filepath.Dir(m.path)); err != nil {
		t.Fatal(err)
	}
	if err := m.change(add); err == nil {
		t.Error("not said after it could be written")
	}
}
