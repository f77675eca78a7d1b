package loader

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"
)

// childVariable makes the test binary do one of children's jobs instead of tests.
const childVariable = "SOCKDIST_TEST_CHILD"

// children are what a process of its own is needed for. Each reads its
// arguments from os.Args and ends with an error or without.
var children = map[string]func(args []string) error{}

func TestMain(m *testing.M) {
	if job, ok := os.LookupEnv(childVariable); ok {
		if err := children[job](os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if firstFolder != "" {
			os.RemoveAll(firstFolder)
		}
		os.Exit(code)
	}))
}

// child prepares this binary as another process. Its files are descriptors 3
// and up.
func child(job string, args []string, files ...*os.File) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), childVariable+"="+job)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = files
	return cmd
}

// emulated tells whether the kernel is a guest's, where everything takes far longer.
func emulated() bool { return os.Getenv("SOCKDIST_GUEST_KERNEL") != "" }

// scaled is n on a real machine and less under emulation.
func scaled(n, less int) int {
	if emulated() {
		return less
	}
	return n
}
