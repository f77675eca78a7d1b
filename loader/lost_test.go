package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/privilege"
)

// A mount is a bpffs of the test's own.
type mount struct {
	t    *testing.T
	dir  string
	host *Host
}

func newMount(t *testing.T) *mount {
	t.Helper()
	privilege.Require(t)
	m := &mount{t: t, dir: t.TempDir()}
	m.mount()
	t.Cleanup(m.unmount)
	var err error
	if m.host, err = Open(Options{Dir: filepath.Join(m.dir, "sockdist")}); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *mount) mount() {
	m.t.Helper()
	if err := unix.Mount("bpf", m.dir, "bpf", 0, "mode=0700"); err != nil {
		m.t.Fatal(err)
	}
}

func (m *mount) unmount() {
	for unix.Unmount(m.dir, unix.MNT_DETACH) == nil {
	}
}

// told checks that an error is one line that says what to do.
func told(t testing.TB, what string, err, want error, advice string) {
	t.Helper()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), advice) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: %v; want %v and %q", what, err, want, advice)
	}
}

// Pins go in two ways.
var losses = map[string]func(m *mount, t *testing.T){
	"unmounted": func(m *mount, t *testing.T) { m.unmount() },
	"removed": func(m *mount, t *testing.T) {
		if err := os.RemoveAll(filepath.Join(m.dir, "sockdist")); err != nil {
			t.Fatal(err)
		}
	},
}

// When the pins go, connections are picked for and served as before, but no
// longer counted. Every call says so, and the group can be made anew.
func TestLostPins(t *testing.T) {
	for how, lose := range losses {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			m := newMount(t)
			w := newWorld(t, 4, RR, on(m.host))
			w.incomplete = true
			w.connect(20)
			w.acceptAll()
			w.agree("before")
			if w.group.Lost() {
				t.Error("the group is said to be lost")
			}
			lose(m, t)
			if !w.group.Lost() {
				t.Error("the group isn't said to be lost")
			}
			w.eventually("the accounting ends with its pins", func() error {
				before := sum(w.shares())
				w.connect(4)
				if sum(w.shares()) != before {
					return errors.New("a connection was counted")
				}
				return nil
			})
			before := w.picks()
			w.connect(40)
			for slot, n := range w.picks() {
				if n != before[slot]+10 {
					t.Errorf("slot %d was picked %d times of 40, the turn of each is 10", slot, n-before[slot])
				}
			}
			w.saysLost()

			// As an operator repairs it.
			old := w.group
			w.must(errors.Join(old.Unsteer(w.workers[0].fd), old.Close()))
			if how == "unmounted" {
				if _, err := m.host.CreateGroup(GroupSpec{Name: "x"}); !errors.Is(err, unix.EINVAL) {
					t.Errorf("a folder that isn't on bpffs any more: %v", err)
				}
				m.mount()
			}
			w.create(Least)
			for _, worker := range w.workers {
				w.eventually("the kernel frees the old array", func() error {
					_, err := w.group.Add(worker.slot, worker.listener())
					return err
				})
			}
			w.must(w.group.Steer(w.workers[0].fd))
			w.adopt(w.owners())
			w.connect(10)
			w.agree("repaired")
		})
	}
}

func (w *world) picks() (picks []uint64) {
	for _, s := range w.snapshot().Slots {
		picks = append(picks, s.Picks)
	}
	return picks
}

// saysLost tries every call that needs the pins.
func (w *world) saysLost() {
	w.t.Helper()
	g, fd := w.group, w.workers[0].fd
	_, programErr := g.ProgramID()
	_, addErr := g.Add(-1, w.workers[0].listener())
	_, dialErr := w.dial(0, w.server)
	_, adoptErr := g.Adopt(nil)
	for what, err := range map[string]error{"policy": g.SetPolicy(RR), "steer": g.Steer(fd), "program": programErr,
		"hold": g.Hold(0, HoldHang), "unhold": g.Unhold(0, HoldHang), "weight": g.SetWeight(0, 1), "maximum": g.SetMax(0, 1),
		"remove": g.Remove(0), "add": addErr, "forget": g.Forget(fd), "adopt": adoptErr, "destroy": g.Destroy()} {
		told(w.t, what, err, fs.ErrNotExist, "make it anew")
	}
	if !errors.Is(dialErr, fs.ErrNotExist) {
		w.t.Errorf("dial: %v", dialErr)
	}
	if _, err := w.group.Snapshot(); err != nil {
		w.t.Error(err)
	}
}

// While a supervisor has its app open, nothing ends with the pins.
func TestLostPinsOfApp(t *testing.T) {
	for how, lose := range losses {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			m := newMount(t)
			s := newShop(t, AppSpec{}, m.host)
			w := newWorld(t, 2, Least, on(m.host))
			a := s.binder()
			s.listens(a, places["v4"])
			if s.app.Lost() {
				t.Error("the app is said to be lost")
			}
			lose(m, t)
			if !s.app.Lost() {
				t.Error("the app isn't said to be lost")
			}
			s.listens(a, places["v4"])
			clients := w.connect(20)
			w.agree("counted all the same")
			w.acceptAll()
			w.each("closed", clients, closeEnd)
			told(t, "supervisor", s.app.SetSupervisor(1), fs.ErrNotExist, "make it anew")
			told(t, "destroy", s.app.Destroy(), fs.ErrNotExist, "make it anew")
			w.closeAll()
			w.group.Close()
			w.group = nil
		})
	}
}

// On a bpffs that is read-only all goes on, who has a group open can change it,
// and what the kernel refuses says why.
func TestReadOnlyPins(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	w := newWorld(t, 2, Least, on(m.host))
	remount := func(flags uintptr) { w.must(unix.Mount("bpf", m.dir, "bpf", unix.MS_REMOUNT|flags, "mode=0700")) }
	remount(unix.MS_RDONLY)
	defer remount(0)
	_, err := m.host.CreateGroup(GroupSpec{Name: "x"})
	told(t, "create", err, unix.EROFS, "remount,rw")
	_, err = m.host.CreateApp(AppSpec{Name: "x", Cgroup: "/"})
	told(t, "create app", err, unix.EROFS, "remount,rw")
	w.must(w.group.Hold(0, HoldHang))
	w.connect(10)
	w.agree("read-only")
	if n := w.slot(1).Connections; n != 10 {
		t.Errorf("slot 1 has %d of 10 connections", n)
	}
	_, err = w.dial(0, w.server)
	told(t, "dial", err, unix.EROFS, "remount,rw")
	_, err = m.host.Group(w.group.Name())
	told(t, "open", err, unix.EROFS, "remount,rw")
	told(t, "destroy", w.group.Destroy(), unix.EROFS, "remount,rw")
	if w.group.Lost() {
		t.Error("the group is said to be lost")
	}
}

// A process killed in the middle of a change leaves it to the next one, even to
// one that only looks.
func TestUnfinishedChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, RR)
	m := w.group.memory.value
	want, turns := []uint32{m.Slot[0].Scale, m.Slot[1].Scale, m.Slot[2].Scale}, m.Turns
	half := func() {
		m.Slot[1].Scale, m.Slot[2].Scale, m.Turns = 0, 77, 1
		m.Changing = 1
	}
	for what, repair := range map[string]func() error{
		"opened": func() error {
			g, err := w.host.Group(w.group.Name())
			if err == nil {
				g.Close()
			}
			return err
		},
		"another change": func() error { return w.group.Forget(w.workers[0].fd) },
	} {
		half()
		w.must(repair())
		if got := fmt.Sprint(m.Slot[0].Scale, m.Slot[1].Scale, m.Slot[2].Scale, m.Turns, m.Changing); got != fmt.Sprint(want[0], want[1], want[2], turns, 0) {
			t.Errorf("%s: scales, turns and mark are %s; want %v, %d, 0", what, got, want, turns)
		}
	}
	w.add(w.workers[0])
}
