package membership

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/loader"
)

// A worker in a container, with namespaces of its own, gets the daemon's listener
// through the socket that it sees.
func TestContainer(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.HangAfter = 500 * time.Millisecond })
	w.workers(2, "-beat", "50ms")
	inside := w.inside(user, unix.CLONE_NEWPID|unix.CLONE_NEWNET|unix.CLONE_NEWNS|unix.CLONE_NEWUTS|unix.CLONE_NEWIPC, "-beat", "50ms")
	inside.says("joined")
	slot := slotOf(inside, w) // by the number that the process has here
	if got := clients.Hold(t, w.config.Listen, 9).PIDs(); got[1] != 3 {
		t.Errorf("process 1, as it is in there, has answered %v", got)
	}
	inside.signal(unix.SIGSTOP)
	w.until("it is ejected", func() bool { return w.held(slot) == loader.HoldHang })
	inside.signal(unix.SIGCONT)
	w.until("it comes back", func() bool { return w.held(slot) == 0 })
	inside.kill()
	w.until("its slot is free", func() bool { return !slices.Contains(w.slots(), slot) })
}

// inside starts a worker in namespaces of its own.
func (w *world) inside(uid int, namespaces uintptr, args ...string) *child {
	w.t.Helper()
	c := &child{t: w.t, lines: make(chan string, 64)}
	c.cmd = childCommand("worker", append([]string{"-socket", w.socket(), "-address", w.config.Listen.String()}, args...)...)
	c.cmd.SysProcAttr.Cloneflags = namespaces
	c.cmd.SysProcAttr.Credential = credential(uid)
	return c.start()
}

// A daemon in a container doesn't see the processes outside. They join, and
// their death is noticed, all the same.
func TestDaemonInContainer(t *testing.T) {
	w := newHost(t)
	w.config = Config{Name: "api", Listen: newAddress(), Slots: 10, UIDs: []uint32{user}, HangAfter: 500 * time.Millisecond}
	d := w.daemonIn(unix.CLONE_NEWPID)
	workers := w.workers(3, "-beat", "50ms")
	for _, s := range w.snapshot().Slots {
		if s.PID != 0 {
			t.Errorf("slot %d is of process %d", s.Slot, s.PID)
		}
	}
	held := clients.Hold(t, w.config.Listen, 9)
	if got := held.PIDs(); got[workers[0].pid()] != 3 {
		t.Errorf("answers by %v", got)
	}
	held.Close()
	workers[0].kill()
	w.until("its slot is free", func() bool { return len(w.slots()) == 2 })
	d.kill()
	d = w.daemon()
	for _, c := range workers[1:] {
		c.says("again")
		if slot := slotOf(c, w); w.held(slot) != 0 {
			t.Errorf("slot %d: %+v", slot, w.slot(slot))
		}
		c.terminate()
	}
	d.terminate()
	g, err := Open(w.host.Host, w.config)
	w.must(err)
	w.must(g.Remove())
}
