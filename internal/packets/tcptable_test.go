package packets_test

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/sockdist/sockdist/internal/netns"
)

// States of /proc/net/tcp.
const (
	established = 1
	synReceived = 3
	listening   = 10
)

// states counts the TCP sockets of ns whose own port is port, by state. A
// handshake that is half open counts under synReceived.
func states(t *testing.T, ns *netns.Namespace, port uint16) map[int]int {
	t.Helper()

	counts := make(map[int]int)
	err := ns.Do(func() error {
		for _, table := range []string{"tcp", "tcp6"} {
			if err := countStates("/proc/thread-self/net/"+table, port, counts); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("read the TCP table: %v", err)
	}
	return counts
}

func countStates(path string, port uint16, counts map[int]int) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()

	own := fmt.Sprintf(":%04X", port)
	lines := bufio.NewScanner(file)
	lines.Scan() // the headings
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 {
			return fmt.Errorf("%s: strange line %q", path, lines.Text())
		}
		if !strings.HasSuffix(fields[1], own) {
			continue
		}
		state, err := strconv.ParseInt(fields[3], 16, 32)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		counts[int(state)]++
	}
	return lines.Err()
}
