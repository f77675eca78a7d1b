package result

import (
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

func TestThisMachine(t *testing.T) {
	m := ThisMachine()
	if m.Kernel == "" || m.CPU == "" || m.CPUs < 1 || m.Memory < 1<<20 {
		t.Errorf("%+v", m)
	}
	if m.Sysctls["net.core.somaxconn"] == "" || strings.Contains(m.Sysctls["net.ipv4.ip_local_port_range"], "\t") {
		t.Errorf("%q", m.Sysctls)
	}
	if !strings.HasPrefix(m.Versions["go"], "go1") {
		t.Errorf("%q", m.Versions)
	}
	for program, version := range m.Versions {
		if strings.Contains(version, "\n") || version == "" {
			t.Errorf("%s: %q", program, version)
		}
	}
}

// Where nothing is installed and nothing can be read, nothing is told.
func TestBareMachine(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for program, version := range versions() {
		if program != "go" && program != "system" && program != "sockdist" {
			t.Errorf("%s without a path: %q", program, version)
		}
	}
	if found := sysctls(t.TempDir()); len(found) > 0 {
		t.Errorf("%v from an empty folder", found)
	}
	if line("/nowhere") != "" {
		t.Error("a line of no file")
	}
}

func TestSysctls(t *testing.T) {
	root := t.TempDir()
	for path, text := range map[string]string{
		"net/ipv4/ip_local_port_range": "32768\t60999\n",
		"kernel/sched_autogroup":       "1\n",
		"kernel/hostname":              "not relevant\n",
		"kernel/sched_nothing":         "\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, path), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"net.ipv4.ip_local_port_range": "32768 60999", "kernel.sched_autogroup": "1"}
	if got := sysctls(root); !maps.Equal(got, want) {
		t.Errorf("%v instead of %v", got, want)
	}
}

func TestPacked(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("PATH", folder)
	program := filepath.Join(folder, "lib", "pm", "bin", "pm")
	if err := os.MkdirAll(filepath.Dir(program), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{program: "#!/bin/sh\n", filepath.Join(folder, "lib", "pm", "package.json"): `{"version": "6.0.1"}`} {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(program, filepath.Join(folder, "pm")); err != nil {
		t.Fatal(err)
	}
	if got := packed("pm")(); got != "6.0.1" {
		t.Errorf("%q", got)
	}
	if got := packed("nothing")(); got != "" {
		t.Errorf("%q of a program that isn't there", got)
	}
}

func TestModules(t *testing.T) {
	deps := []*debug.Module{
		{Path: "github.com/valyala/fasthttp", Version: "v1.2.3"},
		{Path: "github.com/gofiber/fiber/v3", Version: "v3.0.1"},
		{Path: "github.com/gofiber/fiberlike", Version: "v0.1.0"},
	}
	want := map[string]string{"github.com/valyala/fasthttp": "v1.2.3", "github.com/gofiber/fiber": "v3.0.1"}
	if got := among(deps, []string{"github.com/valyala/fasthttp", "github.com/gofiber/fiber", "example.org/absent"}); !maps.Equal(got, want) {
		t.Errorf("%v instead of %v", got, want)
	}
	if got := Modules("/nowhere", "go.uber.org/goleak"); len(got) != 0 {
		t.Errorf("%v of no file", got)
	}
}
