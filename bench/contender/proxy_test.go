package contender

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/privilege"
)

// TestConfigs has the programs themselves judge what bench/peers says.
func TestConfigs(t *testing.T) {
	for _, c := range []struct {
		config string
		check  []string
	}{
		{"haproxy/tcp.cfg", []string{"haproxy", "-c", "-f"}},
		{"haproxy/http.cfg", []string{"haproxy", "-c", "-f"}},
		{"nginx/stream.conf", []string{"nginx", "-e", "stderr", "-t", "-p", t.TempDir(), "-c"}},
		{"nginx/http.conf", []string{"nginx", "-e", "stderr", "-t", "-p", t.TempDir(), "-c"}},
		{"nginx/http-keepalive.conf", []string{"nginx", "-e", "stderr", "-t", "-p", t.TempDir(), "-c"}},
	} {
		t.Run(c.config, func(t *testing.T) {
			f := newFront(t, c.config)
			if err := f.write(); err != nil {
				t.Fatal(err)
			}
			output, err := exec.Command(privilege.Tool(t, c.check[0]), append(c.check[1:], f.path)...).CombinedOutput()
			if err != nil || strings.Contains(strings.ToLower(string(output)), "[warn") {
				t.Errorf("%v: %s", err, output)
			}
		})
	}
}

// newFront has two servers that aren't there.
func newFront(t *testing.T, config string) *front {
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	s := &Setup{Workers: 2, Folder: t.TempDir(), Programs: Programs{Peers: filepath.Join(root, "bench", "peers")}}
	s.begun().Address = local(29999)
	b := s.newBackends([]string{"true"})
	b.all = []*backend{{Name: "worker1", Port: 29997}, {Name: "worker2", Port: 29998}}
	return &front{proxy: proxy{config: config}, setup: s, backends: b}
}

// TestProxiesOfSerialServers: what works with servers that take one connection
// after the other.
func TestProxiesOfSerialServers(t *testing.T) {
	for _, c := range proxies() {
		if c.Can.Has(Serial) {
			t.Run(c.Name, func(t *testing.T) {
				f := startSerial(t, c.Name, 3)
				pids, err := f.Workers()
				if err != nil {
					t.Fatal(err)
				}
				proof{t, c, f}.askAll(pids)
				proof{t, c, f}.reloads()
			})
		}
	}
}

func startSerial(t *testing.T, name string, workers int) *Fleet {
	t.Helper()
	s := newSetup(t, workers)
	s.Serial = true
	return start(t, name, s)
}

// TestHAProxyQueues: a request waits in HAProxy for whichever server is idle
// first, and not behind the one that leastconn would give it to.
func TestHAProxyQueues(t *testing.T) {
	f := startSerial(t, "haproxy-queue-go", 2)
	pids, err := f.Workers()
	if err != nil {
		t.Fatal(err)
	}
	open := openOf(pids)
	open.look(20)
	for range 10 {
		if idleFirst(t, f, open) {
			return
		}
	}
	t.Error("this machine stands still, again and again")
}

// idleFirst has one worker idle long before the other. It tells whether that was
// so until all had been answered.
func idleFirst(t *testing.T, f *Fleet, open allOpened) bool {
	t.Helper()
	long := work(f, 1500*time.Millisecond)
	awaitBusy(t, open, 1)
	short := work(f, 200*time.Millisecond)
	awaitBusy(t, open, 2)
	var later []<-chan answer
	for range 3 {
		later = append(later, work(f, 20*time.Millisecond))
	}
	first := <-short
	pids := make(map[int]int)
	for _, l := range later {
		a := <-l
		if a.err != nil {
			t.Error(a.err)
		}
		pids[a.pid]++
	}
	inTime := len(long) == 0
	if a := <-long; a.err != nil || first.err != nil {
		t.Error(a.err, first.err)
	}
	if inTime && pids[first.pid] != len(later) {
		t.Errorf("answered by %v, but %d was idle first", pids, first.pid)
	}
	return inTime
}

// awaitBusy waits until n workers have a connection, and for longer than a check takes.
func awaitBusy(t *testing.T, open allOpened, n int) {
	t.Helper()
	inRow := 0
	for deadline := time.Now().Add(time.Second); inRow < 5 && time.Now().Before(deadline); inRow++ {
		if open.look(1); open.busy() != n {
			inRow = -1
		}
	}
}

type answer struct {
	pid int
	err error
}

// work asks for some, and doesn't wait for it.
func work(f *Fleet, d time.Duration) <-chan answer {
	answered := make(chan answer, 1)
	go func() {
		pid, err := Ask(f.Address, fmt.Sprintf("/work?us=%d", d.Microseconds()))
		answered <- answer{pid, err}
	}()
	return answered
}

// TestProxyRetries: a server that is gone costs no client anything, and is back
// soon.
func TestProxyRetries(t *testing.T) {
	for _, name := range []string{"haproxy-tcp-go", "haproxy-http-go", "nginx-stream-go", "nginx-http-go"} {
		t.Run(name, func(t *testing.T) {
			f := start(t, name, newSetup(t, 3))
			killed := proof{t, ByName(name), f}.present()[0]
			if err := unix.Kill(killed, unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			old := func(pid int) bool { return pid == killed }
			if err := f.until(t.Context(), func(now []int) bool { return !slices.ContainsFunc(now, old) }); err != nil {
				t.Fatal(err)
			}
			comesBack(t, f)
		})
	}
}

// comesBack asks until a third worker answers.
func comesBack(t *testing.T, f *Fleet) {
	t.Helper()
	seen := make(map[int]bool)
	for began := time.Now(); len(seen) < 3; time.Sleep(time.Millisecond) {
		pid, err := Ask(f.Address, "/")
		if err != nil {
			t.Fatal(err)
		}
		if time.Since(began) > patience {
			t.Fatalf("only %v answer", seen)
		}
		seen[pid] = true
	}
}

// TestNginxReload: nginx's listeners outlive its workers, and lose nothing.
func TestNginxReload(t *testing.T) {
	for _, c := range nginxes() {
		t.Run(c.Name, func(t *testing.T) {
			f := start(t, c.Name, newSetup(t, 3))
			load := begin(f.Address)
			err := f.Reload(t.Context())
			if _, lost := load.end(); err != nil || len(lost) > 0 {
				t.Errorf("reload: %v; lost: %v", err, errors.Join(lost...))
			}
		})
	}
}
