package servers_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/internal/servers"
)

// abandon makes the test binary start nginx, tell its processes, and wait for
// its own end.
const abandon = "SOCKDIST_TEST_ABANDON"

// TestAbandon is the child of TestGuard.
func TestAbandon(t *testing.T) {
	if os.Getenv(abandon) == "" {
		return
	}
	p := servers.StartNginx(t, 2)
	fmt.Println("started", p.PID, p.Workers())
	select {}
}

// A test binary that is killed leaves no server behind.
func TestGuard(t *testing.T) {
	privilege.Tool(t, "nginx")
	child := exec.Command(os.Args[0], "-test.run=^TestAbandon$", "-test.v")
	child.Env = append(os.Environ(), abandon+"=1", "TMPDIR="+t.TempDir())
	output, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var started []int
	for lines := bufio.NewScanner(output); started == nil && lines.Scan(); {
		started = processes(t, lines.Text())
	}
	child.Process.Kill()
	child.Wait()
	if started == nil {
		t.Fatal("the child did not start nginx")
	}

	for _, pid := range started {
		awaitEnd(t, pid)
	}
}

// processes reads "started 1 [2 3]"; nil if the line is another.
func processes(t *testing.T, line string) []int {
	t.Helper()
	list, found := strings.CutPrefix(line, "started ")
	if !found {
		return nil
	}
	var pids []int
	for _, field := range strings.Fields(strings.NewReplacer("[", "", "]", "").Replace(list)) {
		var pid int
		if _, err := fmt.Sscan(field, &pid); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		pids = append(pids, pid)
	}
	return pids
}

func awaitEnd(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || zombie(pid) {
			return
		}
	}
	t.Errorf("process %d is still there", pid)
}
