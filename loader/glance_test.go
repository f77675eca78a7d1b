package loader

import (
	"sync"
	"sync/atomic"
	"testing"
)

// Whatever happens in a group is seen by the next glance, once; and nothing else.
func TestGlance(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, Least)
	w.listen(1, w.workers[0].address)
	var shown Glance
	sees := func(what string, do func()) {
		t.Helper()
		do()
		if !w.group.Glance(&shown) {
			t.Errorf("%s isn't seen", what)
		}
		for range 3 {
			if w.group.Glance(&shown) {
				t.Errorf("after %s, something is seen again", what)
			}
		}
	}
	sees("the beginning", func() {})
	connect := func() {
		w.connect(1)
		w.agree("connected")
	}
	sees("a connection", connect)
	sees("another one", connect)
	sees("an end", func() {
		w.acceptAll()
		w.clients[0].reset()
		w.counts("one of two closed", 1)
	})
	sees("a drain", func() { w.must(w.group.Drain(0)) })
	sees("its end", func() { w.must(w.group.Undrain(0)) })
	sees("a third worker", func() { w.add(w.workers[2]) })
	sees("that its listener closed", w.workers[2].close)
	sees("that its slot is free", func() { w.must(w.group.Remove(2)) })
	w.must(w.group.Unsteer(w.workers[0].fd))
	sees("a connection that nobody was picked for", func() { w.connect(1); w.agree("connected") })
	w.must(w.group.Steer(w.workers[0].fd))
}

// A heartbeat is seen when it stands still.
func TestGlanceAtHearts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, Least)
	w.must(w.group.SetReports(1, w.group.memory.value.Slot[1].Cookie, true))
	beat := &w.group.load.value.Slot[1].Beat
	var shown Glance
	w.group.Glance(&shown)
	for range 3 {
		if w.group.Glance(&shown) {
			t.Error("a heart is seen that doesn't beat yet")
		}
	}
	for range 3 {
		atomic.AddUint64(beat, 1)
		if w.group.Glance(&shown) {
			t.Error("a heart is seen that beats")
		}
	}
	for range 3 {
		if !w.group.Glance(&shown) {
			t.Error("a heart that stands still isn't seen")
		}
	}
	w.must(w.group.Drain(1))
	w.group.Glance(&shown)
	if w.group.Glance(&shown) {
		t.Error("a heart is seen that stands still in a slot that is held")
	}
}

// Groups that recount at the same time share walks, and each gets its own right.
func TestRecountTogether(t *testing.T) {
	t.Parallel()
	first := newWorld(t, 2, Least)
	worlds := []*world{first}
	for range 5 {
		worlds = append(worlds, newWorld(t, 2, Least, in(first.ns), on(first.host)))
	}
	for i, w := range worlds {
		w.connect(4 + i)
		w.acceptAll()
		w.spoil(i%2, i)
	}
	var all sync.WaitGroup
	for i, w := range worlds {
		all.Go(func() {
			if n := w.recount(); n != i {
				t.Errorf("group %d: %d were corrected, want %d", i, n, i)
			}
		})
	}
	all.Wait()
	for _, w := range worlds {
		w.agree("recounted")
	}
}

// An empty group is walked for once, and again when something has happened.
func TestRecountOfNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, Least)
	rests := func() bool { return w.group.empty.Load() == w.group.memory.value.digest() }
	w.recount()
	if !rests() {
		t.Error("an empty group isn't remembered")
	}
	w.connect(1)
	w.agree("connected")
	w.recount()
	if rests() {
		t.Error("a group with a connection passes for empty")
	}
	w.spoil(0, 2)
	if n := w.recount(); n != 2 {
		t.Errorf("%d were corrected, want 2", n)
	}
}
