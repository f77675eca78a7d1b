package control_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/sockdist/sockdist/userspace/control/output"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// The test binary is also the programs that the tests start: a role is its
// first argument.
var roles = map[string]func(args []string) error{
	"serve":     serve,
	"output":    relay,
	"supervise": superviseProcess,
}

func TestMain(m *testing.M) {
	// The netlink library sets itself up at its first use, with no lock.
	if _, err := sockets.Listeners(sockets.Address{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if len(os.Args) > 1 {
		if role := roles[os.Args[1]]; role != nil {
			if err := role(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	goleak.VerifyTestMain(m)
}

func relay(args []string) error {
	format, err := output.ParseFormat(args[len(args)-1])
	if err != nil {
		return err
	}
	return output.Serve(format, "")
}
