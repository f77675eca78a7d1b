package servers

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/sockdist/sockdist/internal/netns"
)

// lowestPort keeps clear of the ports that services are known by, and so does
// lowestLowPort.
const (
	lowestPort     = 10000
	highestLowPort = 1023
	lowestLowPort  = 512
)

// tries is how many ports are tried before there is none.
const tries = 1000

// FreePort returns a port where nobody listens, in namespace or, if that is
// nil, in the process's own. No other call of FreePort, in this process or
// another, returns the port again until t ends. It is none of those that the
// kernel gives to clients, so that connections of tests don't get in its way;
// nothing keeps a stranger from taking it.
func FreePort(t testing.TB, namespace *netns.Namespace) int {
	t.Helper()

	return claimed(t, namespace, findPort)
}

// FreeLowPort is FreePort for a port that takes a right to bind, and for the
// process's own namespace.
func FreeLowPort(t testing.TB) int {
	t.Helper()
	return claimed(t, nil, findLowPort)
}

// claimed returns the port that find finds, and keeps the claim until t ends.
func claimed(t testing.TB, namespace *netns.Namespace, find func() (int, io.Closer, error)) int {
	t.Helper()

	var port int
	var claim io.Closer
	err := within(namespace, func() (err error) {
		port, claim, err = find()
		return err
	})
	if err != nil {
		t.Fatalf("find a free port: %v", err)
	}
	t.Cleanup(func() { claim.Close() })
	return port
}

// within runs f in namespace, if there is one.
func within(namespace *netns.Namespace, f func() error) error {
	if namespace == nil {
		return f()
	}
	return namespace.Do(f)
}

// findPort tries ports at random. The claim keeps the port from other callers.
func findPort() (port int, claim io.Closer, err error) {
	clientLow, clientHigh, err := clientPorts()
	if err != nil {
		return 0, nil, err
	}
	for i := range tries {
		port = lowestPort + rand.IntN(1<<16-lowestPort)
		// Some machines leave no port that isn't for clients.
		if i < tries/2 && clientLow <= port && port <= clientHigh {
			continue
		}
		if claim, err = claimPort(port); err == nil {
			return port, claim, nil
		}
	}
	return 0, nil, fmt.Errorf("none of %d ports was free, the last: %w", tries, err)
}

// findLowPort tries the ports for which one needs a right, but for those that
// services are known by.
func findLowPort() (port int, claim io.Closer, err error) {
	for port = highestLowPort; port > lowestLowPort; port-- {
		if claim, err = claimPort(port); err == nil {
			return port, claim, nil
		}
	}
	return 0, nil, fmt.Errorf("none below %d is free, the last: %w", highestLowPort+1, err)
}

// clientPorts returns the range that the kernel takes clients' ports from.
func clientPorts() (low, high int, err error) {
	const path = "/proc/sys/net/ipv4/ip_local_port_range"
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, err
	}
	if _, err := fmt.Sscan(string(text), &low, &high); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", path, err)
	}
	return low, high, nil
}

// claimPort makes sure that nobody listens on port. An abstract unix socket is
// the claim: the kernel allows one of a name in each network namespace, and
// takes it away with its process.
func claimPort(port int) (io.Closer, error) {
	claim, err := net.Listen("unix", fmt.Sprintf("@sockdist-test-port-%d", port))
	if err != nil {
		return nil, err
	}
	if err := tryPort(port); err != nil {
		claim.Close()
		return nil, err
	}
	return claim, nil
}

// tryPort listens for a moment. Nobody may fork meanwhile: a child has a copy of
// the listener until it executes its program, and the port would be taken for so
// much longer than this.
func tryPort(port int) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	listener, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		return err
	}
	return listener.Close()
}
