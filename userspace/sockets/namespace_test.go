package sockets

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"testing"

	"github.com/sockdist/sockdist/internal/netns"
)

func TestListenersOfAnotherNamespace(t *testing.T) {
	ns := netns.New(t)
	var inside *net.TCPListener
	var worker *child
	err := ns.Do(func() error {
		inside = listen(t, "tcp4", "127.0.0.1:8080")
		worker = start(t, "hold", nil)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := describeOf(t, inside) // a descriptor works from anywhere

	inode, path, err := NetNSOf(worker.pid())
	if err != nil || inode != ns.Inode() {
		t.Fatalf("the namespace of %d is %d, %v, want %d", worker.pid(), inode, err, ns.Inode())
	}
	found, err := FindNetNS(inode)
	if err != nil {
		t.Fatal(err)
	}

	for _, name := range []string{path, found, strconv.Itoa(worker.pid()), ns.Path()} {
		err := In(name, func() error {
			if got := only(t, Address{Port: 8080, Host: netip.MustParseAddr("127.0.0.1")}); got.Cookie != want.Cookie {
				t.Errorf("in %s: %+v, want %+v", name, got, want.Listener)
			}
			here, _, err := NetNSOf(0)
			if here != inode {
				t.Errorf("in %s: the thread is in %d, %v", name, here, err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}

	outside, err := Listeners(Address{Host: netip.MustParseAddr("127.0.0.1"), Port: 8080})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range outside {
		if l.Cookie == want.Cookie {
			t.Error("the listener is in this namespace too")
		}
	}
}

func TestInTheCallersOwn(t *testing.T) {
	failure := errors.New("from inside")
	if err := In("", func() error { return failure }); err != failure {
		t.Errorf("In returned %v", err)
	}
}

func TestNoSuchNamespace(t *testing.T) {
	for _, name := range []string{"/no/such/file", "no-such-name", strconv.Itoa(gonePID(t))} {
		err := In(name, func() error { t.Error("ran"); return nil })
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("In(%q): %v", name, err)
		}
	}
	if _, _, err := NetNSOf(gonePID(t)); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("of a process that is gone: %v", err)
	}
	if path, err := FindNetNS(1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("namespace 1 is at %q, %v", path, err)
	}
}

// gonePID returns the PID of a process that was.
func gonePID(t *testing.T) int {
	t.Helper()
	c := start(t, "hold", nil)
	c.end()
	return c.pid()
}

func TestNamespacePath(t *testing.T) {
	for name, want := range map[string]string{
		"/proc/1/ns/net": "/proc/1/ns/net",
		"./blue":         "./blue",
		"812":            "/proc/812/ns/net",
		"blue":           "/run/netns/blue",
	} {
		if got := namespacePath(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if got, want := processNamespace(os.Getpid()), fmt.Sprintf("/proc/%d/ns/net", os.Getpid()); got != want {
		t.Errorf("this process is in %s", got)
	}
}
