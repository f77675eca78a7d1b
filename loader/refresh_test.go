package loader

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/dependent"
)

// variant loads programs that do the same by other instructions, as those of
// another version might.
func variant(nops int) loadFunc {
	return func(objects any, replace map[string]*ebpf.Map) error {
		spec, err := objectSpec()
		if err != nil {
			return err
		}
		for _, program := range spec.Programs {
			ins := append(asm.Instructions{}, program.Instructions[0])
			for range nops {
				ins = append(ins, asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Ja)}) // over nothing
			}
			program.Instructions = append(ins, program.Instructions[1:]...)
		}
		return explainLoad(spec.LoadAndAssign(objects, &ebpf.CollectionOptions{MapReplacements: replace, Cache: kernelBTF}))
	}
}

func (w *world) refresh(load loadFunc, want int) {
	w.t.Helper()
	if n, err := w.host.refresh(load); n != want || err != nil {
		w.t.Errorf("%d programs were replaced, want %d: %v", n, want, err)
	}
}

// Programs are replaced under load: no connection fails, none is counted twice
// or not at all, and the group says who is steered by an old one.
func TestRefresh(t *testing.T) {
	for kind, where := range loopbacks {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 4, Least, where)
			w.refresh(load, 0)
			for round := range scaled(3, 1) {
				w.stormWhile(func() {
					before := w.steerer()
					w.refresh(variant(1+round), 3)
					if now, err := w.group.ProgramID(); err != nil || now == before || w.steerer() != before {
						t.Errorf("the sockets are steered by %d, and were by %d; the group's is %d, %v", w.steerer(), before, now, err)
					}
					w.must(w.group.Steer(w.workers[0].fd))
					if now, err := w.group.ProgramID(); err != nil || now != w.steerer() {
						t.Errorf("the sockets are steered by %d; the group's is %d, %v", w.steerer(), now, err)
					}
					w.refresh(variant(1+round), 0)
				})
				w.agree(fmt.Sprintf("round %d", round))
				w.acceptAll()
				w.closeAll()
				w.empty("closed")
			}
			if s := w.snapshot(); s.Stale != 0 || s.Refused != 0 || s.Fallback != 0 || s.Retries != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// After a refresh the group knows the program before as its own, also where the
// kernel may not be asked: without CAP_SYS_ADMIN.
func TestChoosesWithoutSysAdmin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, Least, loopbacks["v4"])
	w.must(w.group.Steer(w.workers[0].fd))
	first := w.steerer()
	w.refresh(variant(1), 3)
	var old, now bool
	var stranger error
	w.must(withoutSysAdmin(func() (err error) {
		if old, err = w.group.Chooses(first); err != nil {
			return err
		}
		id, err := w.group.ProgramID()
		if err != nil {
			return err
		}
		if now, err = w.group.Chooses(id); err != nil {
			return err
		}
		_, stranger = w.group.Chooses(1)
		return nil
	}))
	if !old || !now {
		t.Errorf("the program before chooses: %v, the present one: %v", old, now)
	}
	if stranger != nil && !errors.Is(stranger, ErrNotSupported) {
		t.Errorf("of a stranger: %v", stranger)
	}
	w.must(w.group.Steer(w.workers[0].fd))
	w.refresh(variant(2), 3)
	w.must(withoutSysAdmin(func() (err error) {
		old, err = w.group.Chooses(w.steerer())
		return err
	}))
	if !old {
		t.Error("after a second refresh the program before doesn't choose")
	}
}

// withoutSysAdmin is for what needs no other thread.
func withoutSysAdmin(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		err := unix.Capget(&header, &data[0])
		if err == nil {
			data[0].Effective &^= 1 << unix.CAP_SYS_ADMIN
			err = unix.Capset(&header, &data[0])
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// steerer is the program that chooses among the world's sockets.
func (w *world) steerer() (id uint32) {
	w.t.Helper()
	w.must(w.ns.Do(func() error {
		programs, err := Steerers()
		id = programs[w.workers[0].cookie]
		return err
	}))
	return id
}

// Hooks are replaced in place: binds are shared all the time.
func TestRefreshHooks(t *testing.T) {
	t.Parallel()
	s := newShop(t, AppSpec{})
	a := s.binder()
	where := places["v4"]
	s.listens(a, where)
	for round := range 3 {
		if n, err := s.app.host.refresh(variant(1 + round)); n != 6 || err != nil {
			t.Errorf("%d programs were replaced, want 6: %v", n, err)
		}
		s.listens(a, where)
	}
	if n, err := s.app.host.refresh(variant(3)); n != 0 || err != nil {
		t.Errorf("%d programs were replaced, want none: %v", n, err)
	}
}

func init() {
	children["refresh"] = func(args []string) error {
		h, err := Open(Options{Dir: args[0]})
		for n := 0; err == nil; n++ {
			_, err = h.refresh(variant(1 + n%2))
			fmt.Print(".")
		}
		return err
	}
}

// A process killed while it replaces programs leaves all at work.
func TestKilledInRefresh(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, Least)
	for range scaled(8, 2) {
		w.stormWhile(func() {
			cmd := child("refresh", []string{filepath.Dir(w.host.Dir())})
			out, err := cmd.StdoutPipe()
			w.must(err)
			w.must(dependent.Start(cmd))
			if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
				t.Error(err)
			}
			time.Sleep(rand.N(200 * time.Millisecond))
			w.must(cmd.Process.Kill())
			_ = cmd.Wait()
			w.must(w.group.Steer(w.workers[0].fd))
		})
		w.agree("after the kill")
		w.acceptAll()
		w.closeAll()
		w.empty("closed")
		if w.group.Lost() {
			t.Error("pins are missing")
		}
	}
	if left, err := os.ReadDir(filepath.Join(w.host.Dir(), "tmp")); err != nil || len(left) > 1 {
		t.Errorf("tmp/ has %v, %v", left, err)
	}
	w.must(w.group.Hold(0, HoldDrain))
	if left, err := os.ReadDir(filepath.Join(w.host.Dir(), "tmp")); err != nil || len(left) > 0 {
		t.Errorf("tmp/ has %v, %v after the next change", left, err)
	}
}

// An app whose cgroup was removed is refreshed and removed like any other.
func TestAppOfRemovedCgroup(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a, err := s.host.CreateApp(AppSpec{Name: "a", Cgroup: s.cgroup})
	s.must(err)
	defer a.Close()
	s.must(os.Remove(s.cgroup))
	defer func() { s.must(os.Mkdir(s.cgroup, 0o755)) }() // the scene removes it
	if _, err := s.host.refresh(variant(1)); err != nil {
		t.Error(err)
	}
	if a.Lost() {
		t.Error("the app is said to be lost")
	}
	s.must(a.SetSupervisor(1))
	s.must(a.Destroy())
}

// Where there is nothing, nothing is made.
func TestRefreshOfNothing(t *testing.T) {
	h := newHost(t)
	if n, err := h.Refresh(); n != 0 || err != nil {
		t.Errorf("%d replaced, %v", n, err)
	}
}
