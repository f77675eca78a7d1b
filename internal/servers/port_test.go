package servers_test

import (
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"sync"
	"testing"

	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/internal/privilege"
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

func TestFreeLowPortsDiffer(t *testing.T) {
	privilege.Require(t)
	one, two := servers.FreeLowPort(t), servers.FreeLowPort(t)
	if one == two || max(one, two) >= 1024 {
		t.Errorf("ports %d and %d", one, two)
	}
}

// A port can be had at once, also while other goroutines start processes, which
// inherit whatever is open until they execute their program.
func TestFreePortWhileProcessesStart(t *testing.T) {
	stop := make(chan struct{})
	var starting sync.WaitGroup
	for range 4 {
		starting.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_ = exec.Command("/bin/true").Run()
				}
			}
		})
	}
	defer starting.Wait()
	defer close(stop)
	for range 300 {
		port := servers.FreePort(t, nil)
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		listener.Close()
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
