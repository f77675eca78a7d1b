package servers

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/sockdist/sockdist/internal/privilege"
)

// Go is a program on net/http, with its default of listening for MPTCP where
// the kernel has it. It listens on [::], IPv4 included.
var Go = Server{name: "go", command: func(t testing.TB, port int) []string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "gohttp")
	build := exec.Command(privilege.Tool(t, "go"), "build", "-o", program, testdata(t, "gohttp/main.go"))
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build gohttp: %v\n%s", err, output)
	}
	return []string{program, strconv.Itoa(port)}
}}
