package membership

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/dependent"
	"github.com/sockdist/sockdist/userspace/sockets"
)

const (
	roleVariable      = "SOCKDIST_TEST_ROLE"
	namespaceVariable = "SOCKDIST_TEST_NAMESPACE"
)

// The test binary is also the programs that the tests start.
var roles = map[string]func(args []string) error{
	"worker":  workerRole,
	"daemon":  daemonRole,
	"reach":   reachRole,
	"sleep":   sleepRole,
	"library": libraryRole,
}

// A group works in the network namespace of its process, on whichever thread. So
// all tests run in one of their own, in a process that is in it altogether.
func TestMain(m *testing.M) {
	// The netlink library sets itself up at its first use, with no lock.
	if _, err := sockets.Listeners(sockets.Address{}); err != nil {
		fail(err)
	}
	if role := roles[os.Getenv(roleVariable)]; role != nil {
		if err := role(os.Args[1:]); err != nil {
			fail(err)
		}
		return
	}
	if os.Geteuid() == 0 && os.Getenv(namespaceVariable) == "" {
		os.Exit(again())
	}
	if os.Geteuid() == 0 {
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		if err != nil {
			fail(err)
		}
	}
	goleak.VerifyTestMain(m)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "error:", err)
	os.Exit(1)
}

// again runs the tests in a new network namespace.
func again() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), namespaceVariable+"=1")
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	err := dependent.Run(cmd)
	if cmd.ProcessState == nil {
		fail(err)
	}
	return cmd.ProcessState.ExitCode()
}

var background = context.Background()
