package privilege

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// The cases that end a test run as a child of their own, since a test can't
// survive them: the child is this binary, and runs one of the Child tests.

func TestChildRequires(t *testing.T) {
	if inChild() {
		Require(t)
	}
}

func TestChildWantsTool(t *testing.T) {
	if inChild() {
		Tool(t, "no-such-program-anywhere")
	}
}

func TestRequireAsRoot(t *testing.T) {
	Require(t)
	if out, err := runChild(t, "TestChildRequires", 0, false); err != nil || !strings.Contains(out, "--- PASS") {
		t.Fatalf("as root: %v\n%s", err, out)
	}
}

func TestRequireWithoutPrivilege(t *testing.T) {
	Require(t) // to be able to become somebody else

	out, err := runChild(t, "TestChildRequires", 65534, false)
	if err != nil || !strings.Contains(out, "--- SKIP") {
		t.Fatalf("as nobody: %v\n%s", err, out)
	}
	for _, want := range []string{"uid 0", "CAP_BPF", "CAP_SYS_PTRACE", "sudo -E go test -run '^TestChildRequires$'"} {
		if !strings.Contains(out, want) {
			t.Errorf("the skip doesn't say %q:\n%s", want, out)
		}
	}

	if out, err = runChild(t, "TestChildRequires", 65534, true); err == nil || !strings.Contains(out, "--- FAIL") {
		t.Errorf("as nobody in continuous integration: %v\n%s", err, out)
	}
}

func TestToolFound(t *testing.T) {
	if path := Tool(t, "sh"); !strings.HasSuffix(path, "/sh") {
		t.Fatalf("sh is at %q", path)
	}
}

func TestToolMissing(t *testing.T) {
	out, err := runChild(t, "TestChildWantsTool", os.Getuid(), false)
	if err != nil || !strings.Contains(out, "--- SKIP") || !strings.Contains(out, "needs no-such-program-anywhere: make deps") {
		t.Errorf("a developer: %v\n%s", err, out)
	}
	if out, err = runChild(t, "TestChildWantsTool", os.Getuid(), true); err == nil || !strings.Contains(out, "--- FAIL") {
		t.Errorf("continuous integration: %v\n%s", err, out)
	}
}

const childVariable = "SOCKDIST_TEST_PRIVILEGE_CHILD"

// inChild is false in the ordinary run, where the Child tests have nothing to do.
func inChild() bool { return os.Getenv(childVariable) != "" }

// runChild runs one test of this binary as a user and returns what it printed.
func runChild(t *testing.T, test string, uid int, ci bool) (string, error) {
	t.Helper()

	// The folder of a test binary is closed to other users. A descriptor of
	// it can be executed nevertheless.
	binary, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer binary.Close()

	cmd := exec.Command("/proc/self/fd/3", "-test.v", "-test.run=^"+test+"$")
	cmd.ExtraFiles = []*os.File{binary}
	cmd.Dir = "/"
	cmd.Env = []string{childVariable + "=1", "GORACE=atexit_sleep_ms=0", "PATH=" + os.Getenv("PATH")}
	if ci {
		cmd.Env = append(cmd.Env, "CI=true")
	}
	if uid != os.Getuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}
