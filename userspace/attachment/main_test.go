package attachment

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// The servers of these tests are children that run this binary. Each ends with
// its standard input, so that none outlives the test.

const roleVariable = "SOCKDIST_TEST_ROLE"

var roles = map[string]func(args []string) error{
	"serve": serveRole,
	"hold":  holdRole,
}

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		if err := roles[role](os.Args[1:]); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}
