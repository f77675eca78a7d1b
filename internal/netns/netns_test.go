package netns

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// childVariable makes this binary a child that says where it is.
const childVariable = "SOCKDIST_TEST_NETNS_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		where, err := os.Readlink("/proc/self/ns/net")
		fmt.Print(where, err)
		return
	}
	goleak.VerifyTestMain(m)
}

// current returns the namespace of the calling thread.
func current(t testing.TB) uint64 {
	t.Helper()
	var stat unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &stat); err != nil {
		t.Fatal(err)
	}
	return stat.Ino
}

func TestDoRunsInTheNamespace(t *testing.T) {
	ns, home := New(t), current(t)
	if ns.Inode() == home {
		t.Fatal("the new namespace is the old one")
	}

	failure := errors.New("from inside")
	err := ns.Do(func() error {
		if here := current(t); here != ns.Inode() {
			t.Errorf("Do runs in %d, want %d", here, ns.Inode())
		}
		return failure
	})
	if !errors.Is(err, failure) {
		t.Errorf("Do returned %v, want what the function returned", err)
	}
	if here := current(t); here != home {
		t.Errorf("after Do in %d, want %d", here, home)
	}
}

func TestDoFromManyGoroutines(t *testing.T) {
	home := current(t)
	namespaces := []*Namespace{New(t), New(t), New(t)}

	var wait sync.WaitGroup
	for i := range 60 {
		wait.Go(func() {
			ns := namespaces[i%len(namespaces)]
			_ = ns.Do(func() error {
				if here := current(t); here != ns.Inode() {
					t.Errorf("in %d, want %d", here, ns.Inode())
				}
				return nil
			})
		})
	}
	wait.Wait()

	tasks, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		var stat unix.Stat_t
		if err := unix.Stat(task, &stat); err == nil && stat.Ino != home {
			t.Errorf("%s was left in %d", task, stat.Ino)
		}
	}
}

func TestFatalInsideEndsTheTest(t *testing.T) {
	ns, home := New(t), current(t)

	reached := false
	done := make(chan struct{})
	go func() {
		defer close(done)
		// What t.Fatal does, without failing this test.
		_ = ns.Do(func() error { (&testing.T{}).SkipNow(); return nil })
		reached = true
	}()
	<-done
	if reached {
		t.Error("the caller of Do went on")
	}
	if here := current(t); here != home {
		t.Errorf("in %d, want %d", here, home)
	}
}

func TestLoopbackIsUp(t *testing.T) {
	ns := New(t)
	for _, address := range []string{"127.0.0.1", "::1"} {
		server := listen(t, ns, netip.AddrPortFrom(netip.MustParseAddr(address), 80))
		exchange(t, ns, server)
	}
}

func TestPairIsJoined(t *testing.T) {
	a, b := Pair(t)
	for _, c := range []struct {
		name           string
		server, client *Namespace
		address        netip.Addr
	}{
		{"v4 to a", a, b, a.V4}, {"v4 to b", b, a, b.V4},
		{"v6 to a", a, b, a.V6}, {"v6 to b", b, a, b.V6},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := listen(t, c.server, netip.AddrPortFrom(c.address, 80))
			exchange(t, c.client, server)
		})
	}
}

func TestProcessesAreInTheNamespace(t *testing.T) {
	ns := New(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{childVariable + "=1", "GORACE=atexit_sleep_ms=0"}
	var out []byte
	err := ns.Do(func() (err error) {
		out, err = cmd.Output()
		return err
	})
	if want := fmt.Sprintf("net:[%d]<nil>", ns.Inode()); err != nil || string(out) != want {
		t.Errorf("a child is in %q, %v, want %q", out, err, want)
	}
}

func TestPathOpensTheNamespace(t *testing.T) {
	ns := New(t)
	var stat unix.Stat_t
	if err := unix.Stat(ns.Path(), &stat); err != nil || stat.Ino != ns.Inode() {
		t.Errorf("%s is %d, %v, want %d", ns.Path(), stat.Ino, err, ns.Inode())
	}
}

func TestNothingIsLeft(t *testing.T) {
	var inodes []string
	t.Run("inner", func(t *testing.T) {
		a, b := Pair(t)
		for _, ns := range []*Namespace{a, b} {
			inodes = append(inodes, fmt.Sprintf("net:[%d]", ns.Inode()))
		}
	})

	for _, pattern := range []string{"/proc/self/task/*/ns/net", "/proc/self/fd/*"} {
		links, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range links {
			target, _ := os.Readlink(link)
			for _, inode := range inodes {
				if strings.Contains(target, inode) {
					t.Errorf("%s still holds %s", link, inode)
				}
			}
		}
	}
}

func listen(t *testing.T, ns *Namespace, address netip.AddrPort) net.Listener {
	t.Helper()
	var l net.Listener
	err := ns.Do(func() (err error) {
		l, err = net.Listen("tcp", address.String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// exchange sends one word from a client in ns to a server.
func exchange(t *testing.T, ns *Namespace, server net.Listener) {
	t.Helper()
	var client net.Conn
	err := ns.Do(func() (err error) {
		// A literal address is dialled without another goroutine.
		client, err = net.Dial("tcp", server.Addr().String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	accepted, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	if _, err := client.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	word := make([]byte, 5)
	if _, err := io.ReadFull(accepted, word); err != nil || string(word) != "hello" {
		t.Errorf("got %q, %v", word, err)
	}
}
