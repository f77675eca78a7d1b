package loader

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// firstLayout is the last commit whose pins have the layout v1.
const firstLayout = "5926701"

// firstMain makes a group, or an app, with the loader of that version.
const firstMain = `package main

import (
	"log"
	"net/netip"
	"os"
	"strconv"

	"github.com/sockdist/sockdist/loader"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	h, err := loader.Open(loader.Options{Dir: os.Args[1]})
	must(err)
	if cgroup := os.Args[3]; cgroup != "" {
		_, err := h.CreateApp(loader.AppSpec{Name: "old", Cgroup: cgroup})
		must(err)
		return
	}
	listeners, err := strconv.Atoi(os.Args[2])
	must(err)
	g, err := h.CreateGroup(loader.GroupSpec{Name: "old", Address: netip.MustParseAddrPort("127.0.0.1:1")})
	must(err)
	for i := range listeners {
		_, err := g.Add(-1, loader.Listener{FD: 3 + i, PID: 1})
		must(err)
	}
	must(g.Steer(3))
}
`

// first builds that program, once.
var first = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sockdist-v1-")
	if err != nil {
		return "", err
	}
	firstFolder = dir
	archive := exec.Command("git", "archive", firstLayout)
	archive.Dir = ".."
	source, err := archive.Output()
	if err != nil {
		return "", fmt.Errorf("no commit %s here: %w", firstLayout, err)
	}
	unpack := exec.Command("tar", "-x", "-C", dir)
	unpack.Stdin = bytes.NewReader(source)
	main := filepath.Join(dir, "cmd", "first")
	if out, err := unpack.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	if err := errors.Join(os.Mkdir(main, 0o755), os.WriteFile(filepath.Join(main, "main.go"), []byte(firstMain), 0o600)); err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "first-bin"), "./cmd/first")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return filepath.Join(dir, "first-bin"), nil
})

// firstFolder is what first made; TestMain removes it.
var firstFolder string

// runFirst runs it for a host's folder.
func runFirst(t *testing.T, h *Host, cgroup string, workers []*worker) {
	t.Helper()
	program, err := first()
	if err != nil {
		t.Skipf("the first layout's loader can't be built: %v", err)
	}
	cmd := exec.Command(program, filepath.Dir(h.Dir()), fmt.Sprint(len(workers)), cgroup)
	for _, w := range workers {
		fd, err := unix.FcntlInt(uintptr(w.fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		file := os.NewFile(uintptr(fd), "listener")
		defer file.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, file)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// A group of the first layout comes over while connections come: every one is
// served, by the worker that has it, and counted.
func TestMoveFromEarlierLayout(t *testing.T) {
	for kind, where := range loopbacks {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 4, Least, where)
			w.incomplete = true
			w.must(errors.Join(w.group.Unsteer(w.workers[0].fd), w.group.Destroy(), w.group.Close()))
			w.group = nil
			runFirst(t, w.host, "", w.workers)
			w.connect(40)
			w.workers[1].acceptAll(t)
			e := w.earlier()
			if slots, err := e.Sockets("old"); err != nil || len(slots) != 4 || slots[w.workers[2].cookie] != 2 {
				t.Errorf("the old group has %v, %v", slots, err)
			}
			w.whileConnecting(40, func() { w.moveFrom(e) })
			if n := w.adopt(w.owners()); n < 40 {
				t.Errorf("%d connections were adopted, 40 are older than the group", n)
			}
			w.agree("moved")
			clients := w.clients
			speak(t, clients)
			served := 0
			for _, worker := range w.workers {
				worker.acceptAll(t)
				for _, s := range worker.accepted {
					text, err := s.receive()
					if text != s.remote.String() || err != nil {
						t.Errorf("worker %d read %q of %s, %v", worker.slot, text, s.remote, err)
					}
					served++
				}
			}
			if served != len(clients) {
				t.Errorf("%d of %d connections were served", served, len(clients))
			}
			w.agree("accepted")
			if _, err := os.Stat(filepath.Join(filepath.Dir(w.host.Dir()), "v1")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the old folder: %v", err)
			}
			if s := w.snapshot(); s.Refused != 0 || s.Retries != 0 || s.Fallback != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func (w *world) earlier() *Earlier {
	w.t.Helper()
	all, err := w.host.Earlier()
	w.must(err)
	if len(all) != 1 || all[0].Layout != "v1" || !slices.Equal(append(all[0].Groups, all[0].Apps...), []string{"old"}) {
		w.t.Fatalf("other versions: %+v", all)
	}
	return all[0]
}

// moveFrom brings the old group over.
func (w *world) moveFrom(e *Earlier) {
	w.t.Helper()
	w.create(Least)
	for _, worker := range w.workers {
		if _, err := w.group.Add(worker.slot, worker.listener()); !errors.Is(err, ErrSteered) {
			w.t.Errorf("the old group's socket was added: %v", err)
		}
		got, err := e.Move("old", w.group, worker.slot, worker.listener())
		if got != worker.slot || err != nil {
			w.t.Errorf("slot %d, %v; want %d", got, err, worker.slot)
		}
	}
	w.must(w.group.Steer(w.workers[0].fd))
	w.must(e.RemoveGroup("old"))
	if err := e.RemoveGroup("old"); !errors.Is(err, fs.ErrNotExist) {
		w.t.Errorf("removed twice: %v", err)
	}
}

// whileConnecting connects n times, and more while f runs.
func (w *world) whileConnecting(n int, f func()) {
	w.t.Helper()
	over := make(chan struct{})
	var clients sync.WaitGroup
	for range 2 {
		clients.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-over:
					if i >= n/2 {
						return
					}
				default:
				}
				if w.connect(1); i > 150 {
					<-over // descriptors are few
					return
				}
			}
		})
	}
	f()
	close(over)
	clients.Wait()
}

// An app of the first layout comes over: its listeners are no strangers to the
// new hooks, and other workers can share their port, before and after.
func TestAppFromEarlierLayout(t *testing.T) {
	t.Parallel()
	s := newShop(t, AppSpec{})
	s.unwatch()
	s.destroy()
	s.app.Close()
	runFirst(t, s.host, s.tree.Path(), nil)
	a := s.binder()
	where := places["v4"]
	fd := a.do("bind", 0, where.address)
	a.do("listen", fd, nowhere)

	app, err := s.host.CreateApp(AppSpec{Name: "shop", Cgroup: s.tree.Path()})
	s.must(err)
	s.app = app
	s.watch()
	others, err := s.host.Earlier()
	s.must(err)
	if len(others) != 1 || !slices.Equal(others[0].Apps, []string{"old"}) || len(others[0].Groups) != 0 {
		t.Fatalf("other versions: %+v", others)
	}
	b := s.binder()
	b.refusedBind("bind", where)
	s.expect(Event{Kind: Stranger, PID: b.pid, Address: where.address})
	s.must(s.own(a, fd))
	s.listens(b, where)
	s.must(others[0].RemoveApp("old"))
	if err := others[0].RemoveApp("old"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed twice: %v", err)
	}
	s.listens(b, where)
	cookie := uint64(a.do("cookie", fd, nowhere))
	a.do("close", fd, nowhere)
	s.expect(Event{Kind: Closed, Cookie: cookie, Cgroup: a.leaf.ID(), PID: a.pid, Address: where.address})
	if others, err := s.host.Earlier(); err != nil || len(others) != 0 {
		t.Errorf("other versions: %v, %v", others, err)
	}
}

// own fetches a binder's listener and makes it the app's.
func (s *shop) own(b *binder, fd int) error {
	process, err := unix.PidfdOpen(b.pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(process)
	got, err := unix.PidfdGetfd(process, fd, 0)
	if err != nil {
		return err
	}
	defer unix.Close(got)
	return errors.Join(s.app.Own(got), s.app.Own(got))
}
