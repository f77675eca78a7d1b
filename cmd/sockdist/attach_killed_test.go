package main

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
)

var withoutEnd = context.Background()

// sockdistProcess is a command line as a process of its own.
func sockdistProcess(t testing.TB, dir string, args ...string) (*exec.Cmd, *strings.Builder) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), asSockdist+"=1", dirVariable+"="+dir, "GORACE=atexit_sleep_ms=0")
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, &said
}

// serveShared makes n servers in this process that share an address of a namespace.
func serveShared(t *testing.T, ns *netns.Namespace, address string, n int) (listeners []*net.TCPListener) {
	t.Helper()
	if err := ns.Do(func() error { listeners = listenShared(t, "tcp4", address, n); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, l := range listeners {
		server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("1")) })}
		served := make(chan struct{})
		go func() {
			_ = server.Serve(l)
			close(served)
		}()
		t.Cleanup(func() {
			_ = server.Close()
			<-served
		})
	}
	return listeners
}

// Killed at any moment, attach leaves the kernel's hash or all slots steered,
// detach what was or nothing; no connection is lost; and the next one completes it.
func TestAttachIsKilled(t *testing.T) {
	const sockets, rounds = 6, 24
	dir, ns := newDir(t), netns.New(t)
	listeners := serveShared(t, ns, "127.0.0.1:80", sockets)
	server := listeners[0].Addr().(*net.TCPAddr).AddrPort()
	client := clients.Client{In: ns}
	attach := []string{"attach", server.String(), "--netns", ns.Path()}
	detach := []string{"detach", "127-0-0-1-80", "--netns", ns.Path()}

	began := time.Now()
	attachAll(t, dir, attach[1:]...)
	took := time.Since(began)
	if a := sockdist(t, dir, detach...); a.code != exitDone {
		t.Fatal(a.err)
	}

	ctx, stop := context.WithCancel(t.Context())
	ledgers := make(chan clients.Ledger)
	go func() {
		ledgers <- client.Load(ctx, server, clients.Limits{Count: 1 << 20, Duration: time.Minute, Rate: 200})
	}()
	steered, plain := 0, 0
	for round := range rounds {
		args := attach
		if round%3 == 2 {
			args = detach
		}
		cmd, _ := sockdistProcess(t, dir, args...)
		time.Sleep(time.Duration(rand.Int64N(int64(took) + 1)))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if oldOrNew(t, dir, ns, sockets) {
			steered++
		} else {
			plain++
		}
		if round%6 == 5 {
			if a := sockdist(t, dir, attach...); a.code != exitDone {
				t.Fatalf("after round %d: %s", round, a.err)
			}
			if !oldOrNew(t, dir, ns, sockets) {
				t.Fatalf("after round %d: not steered", round)
			}
		}
	}
	t.Logf("%d times steered, %d times not", steered, plain)
	stop()
	if ledger := <-ledgers; len(ledger.Lost()) > 0 || len(ledger) == 0 {
		t.Errorf("under load: %v", ledger)
	}

	attachAll(t, dir, attach[1:]...)
	haveEach := func(n uint64) func() bool {
		return func() bool {
			return !slices.ContainsFunc(snapshotOf(t, dir, "127-0-0-1-80").Slots, func(s loader.Slot) bool { return s.Connections+s.Pending != n })
		}
	}
	until(t, "the end of the load's last connections", haveEach(0)) // servers close theirs a moment later
	client.Hold(t, server, 10*sockets, 4)
	until(t, "even slots", haveEach(10))
	if a := sockdist(t, dir, detach...); a.code != exitDone {
		t.Error(a.err)
	}
}

// oldOrNew tells whether all sockets are steered, with a live slot each; it
// fails t if only some are.
func oldOrNew(t *testing.T, dir string, ns *netns.Namespace, n int) (steered bool) {
	t.Helper()
	err := ns.Do(func() error {
		programs, err := loader.Steerers()
		if err != nil || len(programs) == 0 {
			return err
		}
		steered = true
		found, err := sockets.Listeners(sockets.Address{})
		if err != nil {
			return err
		}
		if len(programs) != n || len(found) != n {
			t.Fatalf("%d of %d sockets are steered", len(programs), len(found))
		}
		live := make(map[uint64]bool)
		for _, s := range snapshotOf(t, dir, "127-0-0-1-80").Slots {
			live[s.Cookie] = s.State == loader.Live
		}
		for _, l := range found {
			if !live[l.Cookie] {
				t.Errorf("socket %d has no live slot", l.Cookie)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return steered
}

func snapshotOf(t *testing.T, dir, name string) loader.Snapshot {
	t.Helper()
	host, err := loader.Open(loader.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	g, err := host.Group(name)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	s, err := g.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// SIGINT in the middle of an attach undoes it; SIGTERM ends a watch, and the
// steering goes on.
func TestAttachSignals(t *testing.T) {
	dir, ns := newDir(t), netns.New(t)
	listeners := serveShared(t, ns, "127.0.0.1:80", 4)
	args := []string{"attach", "127.0.0.1:80", "--netns", ns.Path()}
	for range 8 {
		cmd, said := sockdistProcess(t, dir, args...)
		time.Sleep(time.Duration(rand.Int64N(int64(300 * time.Millisecond))))
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err == nil {
			// It was done before the signal came.
			if a := sockdist(t, dir, "detach", "127-0-0-1-80", "--netns", ns.Path()); a.code != exitDone {
				t.Fatal(a.err)
			}
			continue
		}
		if entries, err := os.ReadDir(filepath.Dir(dir)); err != nil {
			t.Fatal(err)
		} else {
			for _, e := range entries {
				if e.Name() == filepath.Base(dir) {
					t.Fatalf("pins left by an attach that said %s", said)
				}
			}
		}
		if oldOrNew(t, dir, ns, len(listeners)) {
			t.Fatal("steered by an attach that was undone")
		}
	}

	cmd, said := sockdistProcess(t, dir, append(args, "--watch")...)
	until(t, "the steering", func() bool { return oldOrNew(t, dir, ns, len(listeners)) })
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// It may not have begun to watch: then it is undone, as above.
	err := cmd.Wait()
	if steered := oldOrNew(t, dir, ns, len(listeners)); (err == nil) != steered {
		t.Errorf("ended with %v and %s, steered: %v", err, said, steered)
	}
	if a := sockdist(t, dir, "detach", "--all", "--netns", ns.Path()); a.code != exitDone {
		t.Error(a.err)
	}
}
