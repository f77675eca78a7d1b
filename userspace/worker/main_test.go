package worker_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

const roleVariable = "SOCKDIST_TEST_ROLE"

// The test binary is also the programs that the tests start.
var roles = map[string]func(args []string) error{}

func TestMain(m *testing.M) {
	if role := roles[os.Getenv(roleVariable)]; role != nil {
		if err := role(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if prepare != nil {
		prepare()
	}
	goleak.VerifyTestMain(m)
}

var prepare func()
