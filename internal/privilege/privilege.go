// Package privilege tells tests whether they may do what they need on this
// machine.
//
// A developer without root gets a skipped test that says how to run it. A
// continuous integration run, recognised by CI=true in the environment, gets a
// failed one: there, a skip would hide a guarantee that nobody checks any more.
package privilege

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Require skips t, or fails it in continuous integration, unless this process
// is root of the machine itself and holds every capability that loading
// programs, making namespaces and fetching other processes' sockets take.
func Require(t testing.TB) {
	t.Helper()

	lacking, err := lacking()
	if err != nil {
		t.Fatalf("read the privileges of this process: %v", err)
	}
	if len(lacking) > 0 {
		unmet(t, fmt.Sprintf("needs %s: run as root, sudo -E go test -run '^%s$' in this folder",
			strings.Join(lacking, ", "), topLevel(t.Name())))
	}
}

// Tool returns the path of an installed program. It skips t, or fails it in
// continuous integration, when there is none of that name on PATH.
func Tool(t testing.TB, name string) string {
	t.Helper()

	path, err := exec.LookPath(name)
	if err != nil {
		unmet(t, fmt.Sprintf("needs %s: make deps installs it", name))
	}
	return path
}

// unmet ends t for want of something that the machine should have given.
func unmet(t testing.TB, reason string) {
	t.Helper()

	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// topLevel returns the name of the test function that a subtest belongs to.
func topLevel(name string) string {
	name, _, _ = strings.Cut(name, "/")
	return name
}

var needed = []struct {
	name string
	bit  uint
}{
	{"CAP_BPF", unix.CAP_BPF},
	{"CAP_NET_ADMIN", unix.CAP_NET_ADMIN},
	{"CAP_PERFMON", unix.CAP_PERFMON},
	{"CAP_SYS_ADMIN", unix.CAP_SYS_ADMIN},
	{"CAP_SYS_PTRACE", unix.CAP_SYS_PTRACE},
}

// lacking names what this process would need and has not, in the words of
// capabilities(7).
func lacking() ([]string, error) {
	var names []string
	if os.Geteuid() != 0 {
		names = append(names, "uid 0")
	}

	initial, err := inInitialUserNamespace()
	if err != nil {
		return nil, err
	}
	if !initial {
		// Capabilities in a namespace of one's own don't count for BPF.
		names = append(names, "the initial user namespace")
	}

	effective, err := effectiveCapabilities()
	if err != nil {
		return nil, err
	}
	for _, c := range needed {
		if effective&(1<<c.bit) == 0 {
			names = append(names, c.name)
		}
	}
	return names, nil
}

func effectiveCapabilities() (uint64, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData // version 3 is two words of 32 bits
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, fmt.Errorf("capget: %w", err)
	}
	return uint64(data[1].Effective)<<32 | uint64(data[0].Effective), nil
}

// initialUserNamespace is PROC_USER_INIT_INO of the kernel: a constant, the
// same on every machine.
const initialUserNamespace = 0xEFFFFFFD

func inInitialUserNamespace() (bool, error) {
	var stat unix.Stat_t
	if err := unix.Stat("/proc/self/ns/user", &stat); err != nil {
		return false, fmt.Errorf("stat /proc/self/ns/user: %w", err)
	}
	return stat.Ino == initialUserNamespace, nil
}
