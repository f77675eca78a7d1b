package membership

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/wire"
)

// Workers without any privilege join, serve, drain and leave.
func TestJoinAndLeave(t *testing.T) {
	w := newWorld(t)
	if n := len(w.slots()); n != 0 {
		t.Errorf("%d slots before anybody joined", n)
	}
	workers := w.workers(3)
	held := clients.Hold(t, w.config.Listen, 30)
	if got := held.Slots(); got[0] != 10 || got[1] != 10 || got[2] != 10 {
		t.Errorf("connections by slot: %v, want 10 each", got)
	}
	w.agree(map[int]int{0: 10, 1: 10, 2: 10})
	for _, s := range w.snapshot().Slots {
		if !slices.ContainsFunc(workers, func(c *child) bool { return c.pid() == s.PID }) || s.Start == 0 {
			t.Errorf("slot %d is of process %d, started at %d", s.Slot, s.PID, s.Start)
		}
	}
	held.Close()
	for _, c := range workers {
		c.terminate()
	}
	w.until("all slots are free", func() bool { return len(w.slots()) == 0 })
}

// With nobody there the kernel refuses, and no other user gets the address.
func TestNobodyIsThere(t *testing.T) {
	w := newWorld(t)
	refused := func() bool {
		return len(clients.Load(t.Context(), w.config.Listen, clients.Limits{Count: 1}).With(clients.Refused)) == 1
	}
	if !refused() {
		t.Error("a connection is not refused without workers")
	}
	c := w.worker()
	if refused() {
		t.Error("a connection is refused though there is a worker")
	}
	c.kill()
	w.until("its slot is free", func() bool { return len(w.slots()) == 0 })
	if !refused() {
		t.Error("a connection is not refused after the worker's death")
	}
	out := start(t, "reach", stranger, nil, "bind", w.config.Listen.String()).says("bind")
	if !strings.Contains(out, "address already in use") {
		t.Errorf("another user binds to the address: %s", out)
	}
}

func TestWhoMayJoin(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.GIDs = []uint32{777} })
	for _, c := range []struct {
		name     string
		uid, gid uint32
		groups   []uint32
		may      bool
	}{
		{"root", 0, 0, nil, true},
		{"the user", user, user, nil, true},
		{"another user", stranger, stranger, nil, false},
		{"another user in other groups", stranger, stranger, []uint32{1, 776, user}, false},
		{"a user of the group", stranger, 777, nil, true},
		{"a user with the group besides", stranger, stranger, []uint32{5, 777}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			child := &child{t: t, lines: make(chan string, 16)}
			child.cmd = childCommand("reach", "join", w.socket(), w.config.Name)
			child.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: c.uid, Gid: c.gid, Groups: append([]uint32{}, c.groups...)}
			said := child.start().says("join")
			if may := strings.HasPrefix(said, "join: slot"); may != c.may {
				t.Errorf("it got %q", said)
			} else if !may && !strings.Contains(said, "not allowed") {
				t.Errorf("refused with %q", said)
			}
		})
	}
}

func TestGroupIsFull(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Slots = 2 })
	one, _, files, err := w.join()
	w.must(err)
	defer closeAll(files)
	_, _, more, err := w.join()
	w.must(err)
	if _, _, _, err := w.join(); err == nil || !strings.Contains(err.Error(), "all slots are taken") {
		t.Errorf("the third of two: %v", err)
	}
	// A slot whose listener is closed is given to who needs it.
	closeAll(more)
	w.until("it is gone", func() bool { return w.slot(1).State == loader.Gone })
	_, reply, more, err := w.join()
	w.must(err)
	defer closeAll(more)
	if reply.Seat.Slot != 1 {
		t.Errorf("slot %d", reply.Seat.Slot)
	}
	// More are possible by another configuration, and those who are there stay.
	w.config.Slots, w.config.UIDs, w.config.Policy = 1, nil, loader.RR
	w.must(w.group.Change(w.config))
	if _, _, err := ask(one, wire.Request{Verb: wire.Ping}); err != nil || len(w.slots()) != 2 || w.snapshot().Spec.Policy != loader.RR {
		t.Errorf("after a change: %v, %+v", err, w.snapshot())
	}
	w.config.Slots = 3
	w.must(w.group.Change(w.config))
	_, _, files3, err := w.join()
	w.must(err)
	closeAll(files3)
	for _, bad := range []func(*Config){
		func(c *Config) { c.Name = "other" },
		func(c *Config) { c.Slots = 0 },
		func(c *Config) { c.Slots = 256 },
		func(c *Config) { c.HangAfter = -1 },
		func(c *Config) { c.V6Only = true },
	} {
		c := w.config
		bad(&c)
		if err := w.group.Change(c); err == nil {
			t.Errorf("changed to %+v", c)
		}
	}
}

func TestDrain(t *testing.T) {
	w := newWorld(t)
	one, _, files, err := w.join()
	w.must(err)
	defer closeAll(files)
	w.worker()
	for range 3 {
		_, _, err := ask(one, wire.Request{Verb: wire.Drain})
		w.must(err)
		if got := clients.Load(t.Context(), w.config.Listen, clients.Limits{Count: 20, Concurrency: 1}); len(got.With(clients.Answered)) != 20 {
			t.Fatalf("while one drains: %v", got)
		}
		if p := w.slot(0); p.Connections != 0 || p.Hold != loader.HoldLeave {
			t.Errorf("it drains: %+v", p)
		}
		_, _, err = ask(one, wire.Request{Verb: wire.Undrain})
		w.must(err)
		if p := w.slot(0); p.Hold != 0 {
			t.Errorf("it doesn't drain any more: %+v", p)
		}
	}
	if _, _, err := ask(one, wire.Request{Verb: wire.Stop}); err == nil {
		t.Error("a worker could stop something")
	}
	_, _, err = ask(one, wire.Request{Verb: wire.Quit})
	w.must(err)
	if _, _, err := ask(one, wire.Request{Verb: wire.Drain}); err == nil {
		t.Error("who has left could drain")
	}
	if got := w.slots(); !slices.Equal(got, []int{1}) {
		t.Errorf("slots %v", got)
	}
}

// 64 workers, several in each process, get an equal share to the last one.
func TestManyMembers(t *testing.T) {
	w := newWorld(t)
	processes := w.workers(8, "-seats", "8")
	w.until("all are in", func() bool { return len(w.slots()) == 64 })
	held := clients.Client{}.Hold(t, w.config.Listen, 640, 1)
	want := make(map[int]int)
	for slot := range 64 {
		want[slot] = 10
	}
	for slot, n := range held.Slots() {
		if n != want[slot] {
			t.Errorf("slot %d has %d connections, want 10", slot, n)
		}
	}
	w.agree(want)
	held.Close()
	processes[0].kill()
	w.until("those of the killed one are free", func() bool { return len(w.slots()) == 56 })
	for _, c := range processes[1:] {
		c.terminate()
	}
	w.until("all are free", func() bool { return len(w.slots()) == 0 })
}

// A fresh slot has nothing of the dead worker that was there before.
func TestFreshLoads(t *testing.T) {
	w := newWorld(t)
	_, _, files, err := w.join()
	w.must(err)
	lines := mapLoads(files[1])
	*lines[0] = [8]uint64{1000, 77, 5}
	if s := w.snapshot().Slots[0]; s.Load != 1000 {
		t.Errorf("load %d", s.Load)
	}
	files[0].Close()
	w.until("it is gone", func() bool { return w.slot(0).State == loader.Gone })
	w.until("it is free", func() bool { return len(w.slots()) == 0 })
	_, _, files, err = w.join()
	w.must(err)
	defer closeAll(files)
	if s := w.snapshot().Slots[0]; s.Load != 0 || w.slot(0).Beat != 0 || lines[0][2] != 0 {
		t.Errorf("a fresh slot begins with load %d, beat %d, %d requests", s.Load, w.slot(0).Beat, lines[0][2])
	}
}

// A slot is freed by the death of its process, also when it has no session.
func TestDeathWithoutSession(t *testing.T) {
	w := newWorld(t)
	c := start(t, "reach", user, nil, "leave session", w.socket(), w.config.Name)
	c.says("join: slot 0")
	c.says("closed")
	w.until("the session has ended", func() bool {
		w.group.mu.Lock()
		defer w.group.mu.Unlock()
		return w.group.members[0] != nil && w.group.members[0].session == nil
	})
	if p := w.slot(0); p.State != loader.Live {
		t.Errorf("the end of the session: %+v", p)
	}
	c.kill()
	w.until("its slot is free", func() bool { return len(w.slots()) == 0 })
}

// A process that a dead worker has left its listener to doesn't keep the queue.
func TestDeathWithAHeir(t *testing.T) {
	w := newWorld(t)
	c := start(t, "reach", user, nil, "fork", w.socket(), w.config.Name)
	var heir int
	fmt.Sscanf(c.says("heir"), "heir %d", &heir)
	t.Cleanup(func() { _ = unix.Kill(heir, unix.SIGKILL) })
	other := w.worker()
	held := make(chan clients.Ledger)
	client := clients.Client{Timeout: patience} // the slot waits for its worker for a while
	go func() {
		held <- client.Load(t.Context(), w.config.Listen, clients.Limits{Count: 4, Concurrency: 4})
	}()
	w.until("somebody waits there", func() bool { return w.slot(0).Connections > 0 })
	c.kill()
	if got := <-held; len(got.With(clients.Answered)) != 4 || got.PIDs()[other.pid()] != 4 {
		t.Errorf("what waited: %v", got)
	}
	w.until("its slot is free", func() bool { return slices.Equal(w.slots(), []int{1}) })
}
