package capabilities

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/sockdist/sockdist/internal/privilege"
)

// threads is testdata/threads, built without cgo.
var threads = sync.OnceValues(func() (string, error) { return buildThreads("CGO_ENABLED=0") })

var folder string

func TestMain(m *testing.M) {
	code := m.Run()
	if folder != "" {
		_ = os.RemoveAll(folder)
	}
	os.Exit(code)
}

func buildThreads(variable string, flags ...string) (path string, err error) {
	if folder == "" {
		if folder, err = os.MkdirTemp("", "capabilities"); err != nil {
			return "", err
		}
		if err = os.Chmod(folder, 0o755); err != nil { // other users start it, too
			return "", err
		}
	}
	path = filepath.Join(folder, variable)
	cmd := exec.Command("go", append(append([]string{"build", "-o", path}, flags...), "./testdata/threads")...)
	cmd.Env = append(os.Environ(), variable)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
}

// run starts the program as a user, with ambient capabilities if that isn't root.
func run(t *testing.T, uid uint32, ambient Set, args ...string) string {
	t.Helper()
	privilege.Require(t)
	path, err := threads()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = "/"
	if uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		for _, c := range ambient.List() {
			cmd.SysProcAttr.AmbientCaps = append(cmd.SysProcAttr.AmbientCaps, uintptr(c))
		}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func hex(s Set) string { return fmt.Sprintf("%x", uint64(s)) }

// status is a line of /proc/PID/status as the program prints it.
func status(name string, s Set) string { return fmt.Sprintf("%s:%016x ", name, uint64(s)) }

// want checks every thread's line for all of the parts.
func want(t *testing.T, out string, least int, parts ...string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) < least {
		t.Errorf("%d lines, want at least %d:\n%s", len(lines), least, out)
	}
	for _, line := range lines {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				t.Errorf("%q lacks %q", line, part)
			}
		}
	}
}

func TestDropIsForAllThreads(t *testing.T) {
	keep := Of(BPF, PerfMon, NetAdmin)
	own, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	want(t, run(t, 0, 0, hex(keep), "0", "-"), 13,
		status("CapEff", keep), status("CapPrm", keep), status("CapInh", 0), status("CapAmb", 0), status("CapBnd", own.Bounding), "NoNewPrivs:0")
}

func TestDropAddsNothing(t *testing.T) {
	has := Of(BPF, NetBindService)
	want(t, run(t, 65534, has, hex(^Set(0)), "0", "-"), 13, status("CapEff", has), status("CapPrm", has), status("CapAmb", has))
}

// What is dropped isn't inherited either.
func TestDropEndsInheritance(t *testing.T) {
	has := Of(BPF, NetBindService)
	want(t, run(t, 65534, has, hex(Of(BPF)), "0", "-"), 13, status("CapEff", Of(BPF)), status("CapInh", Of(BPF)), status("CapAmb", Of(BPF)))
}

// Programs don't inherit what was lowered, and the process keeps it.
func TestLowerAmbient(t *testing.T) {
	has := Of(BPF, NetBindService)
	want(t, run(t, 65534, has, hex(has), hex(Of(BPF)), "-"), 13, status("CapEff", has), status("CapAmb", Of(NetBindService)))
	out := run(t, 65534, has, hex(has), hex(Of(BPF)), "-", "/bin/grep", "CapEff", "/proc/self/status")
	if want := fmt.Sprintf("CapEff:\t%016x\n", uint64(Of(NetBindService))); out != want {
		t.Errorf("a program that it starts has %q, want %q", out, want)
	}
}

// A program of root's gets all of the bounding set back, but for no_new_privs.
// docs/SECURITY.md relies on both.
func TestRootGetsTheBoundingSetBack(t *testing.T) {
	own, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	for nnp, gets := range map[string]Set{"-": own.Bounding, "nnp": Of(BPF)} {
		out := run(t, 0, 0, hex(Of(BPF)), "0", nnp, "/bin/grep", "CapEff", "/proc/self/status")
		if want := fmt.Sprintf("CapEff:\t%016x\n", uint64(gets)); out != want {
			t.Errorf("%s: a program that it starts has %q, want %q", nnp, out, want)
		}
	}
}

// What a root process starts has more than it after a drop, so the kernel makes
// no core dumps of it: why a duty with apps of root's keeps all.
func TestRootsProgramsAreNotDumpableAfterADrop(t *testing.T) {
	own, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	self, err := threads()
	if err != nil {
		t.Fatal(err)
	}
	for keep, dumpable := range map[Set]string{own.Permitted: "Dumpable:1", Of(BPF): "Dumpable:0"} {
		want(t, run(t, 0, 0, hex(keep), "0", "-", self, hex(^Set(0)), "0", "-"), 13, dumpable)
	}
}

func TestRefuseNewPrivileges(t *testing.T) {
	want(t, run(t, 0, 0, hex(^Set(0)), "0", "nnp"), 13, "NoNewPrivs:1")
	want(t, run(t, 65534, 0, hex(^Set(0)), "0", "nnp"), 13, "NoNewPrivs:1")
}

// A binary with cgo says so, and has given up nothing.
func TestCgoIsRefused(t *testing.T) {
	privilege.Require(t)
	privilege.Tool(t, "gcc")
	path, err := buildThreads("CGO_ENABLED=1", "-race") // -race is what always brings cgo
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path, "0", "0", "-").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "CGO_ENABLED=0") {
		t.Errorf("%v: %s", err, out)
	}
}

// The test binary itself loses nothing by what goes wrong.
func TestDropOfNothing(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	if err := Drop(before.Permitted | before.Inheritable); err != nil {
		t.Error(err)
	}
	if after, err := Read(); err != nil || after != before {
		t.Errorf("%+v, %v", after, err)
	}
}
