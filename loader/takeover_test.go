package loader

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/sockdist/sockdist/internal/dependent"
)

func init() { children["take over"] = takeOver }

// takeOver looks after an app that another process made, says what it is, and
// then every event. It ends with its input.
func takeOver(args []string) error {
	h, err := Open(Options{Dir: args[0]})
	if err != nil {
		return err
	}
	a, err := h.App(args[1])
	if err != nil {
		return err
	}
	if err := a.SetSupervisor(os.Getpid()); err != nil {
		return err
	}
	spec, err := a.Spec()
	if err != nil {
		return err
	}
	fmt.Println(spec)
	events, err := a.Events()
	if err != nil {
		return err
	}
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}()
	for {
		e, err := events.Read()
		if err != nil {
			return err
		}
		fmt.Println(e)
	}
}

// Another process takes an app over whose supervisor is no more: it gets what
// the app is, the events that nobody read, and those to come.
func TestTakeOverApp(t *testing.T) {
	t.Parallel()
	s := newShop(t, AppSpec{Ports: []uint16{8080, 8443}, UDP: true})
	a := s.binder()
	where := placeAt("127.0.0.1:8080", 0)
	_, told := s.listens(a, where)
	next := child("take over", []string{filepath.Dir(s.app.host.dir), s.app.Name()})
	in, err := next.StdinPipe()
	s.must(err)
	pipe, err := next.StdoutPipe()
	s.must(err)
	out := bufio.NewScanner(pipe)
	s.unwatch()
	unread := a.do("bind", 0, where.address)
	a.do("listen", unread, nowhere)
	told.Cookie = uint64(a.do("cookie", unread, nowhere))
	s.must(dependent.Start(next))
	said := func(want any) {
		t.Helper()
		if !out.Scan() || out.Text() != fmt.Sprint(want) {
			t.Errorf("the next supervisor said %q, want %q", out.Text(), fmt.Sprint(want))
		}
	}
	said(AppSpec{Name: s.app.Name(), Ports: []uint16{8080, 8443}, UDP: true})
	said(told)
	if pid, err := s.app.Supervisor(); pid != next.Process.Pid || err != nil {
		t.Errorf("the supervisor is %d, %v; want %d", pid, err, next.Process.Pid)
	}
	a.do("close", unread, nowhere)
	told.Kind = Closed
	said(told)
	in.Close()
	if err := next.Wait(); err != nil {
		t.Error(err)
	}
}

// A handle of an app or group that was removed does nothing, and says so.
func TestRemovedHandles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, Least)
	s := newShop(t, AppSpec{})
	g, err := w.host.Group(w.group.Name())
	w.must(err)
	defer g.Close()
	w.must(w.group.Unsteer(w.workers[0].fd))
	w.must(w.group.Destroy())
	w.group.Close()
	w.create(Least)
	a, err := s.app.host.App(s.app.Name())
	s.must(err)
	defer a.Close()
	_, programErr := g.ProgramID()
	for what, err := range map[string]error{"policy": g.SetPolicy(RR), "steer": g.Steer(w.workers[0].fd), "program": programErr,
		"hold": g.Hold(0, HoldHang), "remove": g.Destroy()} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s of a removed group: %v", what, err)
		}
	}
	b, err := s.app.host.CreateApp(AppSpec{Name: "b", Cgroup: s.tree.Path()})
	s.must(err)
	again, err := s.app.host.App("b")
	s.must(err)
	defer again.Close()
	s.must(b.Destroy())
	b.Close()
	if err := again.SetSupervisor(1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("supervisor of a removed app: %v", err)
	}
	if err := again.Destroy(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removal of a removed app: %v", err)
	}
}
