package servers_test

import (
	"fmt"
	"net"
	"strconv"
	"testing"

	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/internal/servers"
)

func TestFreePortsDiffer(t *testing.T) {
	seen := make(map[int]bool)
	for range 200 {
		port := servers.FreePort(t, nil)
		if seen[port] {
			t.Fatalf("port %d twice", port)
		}
		seen[port] = true
	}
}

// The port is nobody's in the namespace, whoever has it elsewhere.
func TestFreePortInNamespace(t *testing.T) {
	ns := netns.New(t)
	port := servers.FreePort(t, ns)
	err := ns.Do(func() error {
		listener, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		return listener.Close()
	})
	if err != nil {
		t.Error(err)
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
