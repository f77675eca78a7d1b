package loader

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
)

func TestClaim(t *testing.T) {
	h := newHost(t)
	release, err := h.Claim(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := h.Claim(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("claimed twice: %v", err)
	}
	// What is claimed can be changed, by whoever wants to.
	g, err := h.CreateGroup(GroupSpec{Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if err := g.Destroy(); err != nil {
		t.Error(err)
	}
	release()
	release, err = h.Claim(t.Context()) // the folder is another by now
	if err != nil {
		t.Fatal(err)
	}
	release()
}

func TestClaimsExclude(t *testing.T) {
	h := newHost(t)
	var inside, most atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 5 {
				release, err := h.Claim(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				most.Store(max(most.Load(), inside.Add(1)))
				time.Sleep(time.Millisecond)
				inside.Add(-1)
				release()
			}
		})
	}
	all.Wait()
	if most.Load() != 1 {
		t.Errorf("%d at once", most.Load())
	}
}

func TestForget(t *testing.T) {
	w := newWorld(t, 2, Least)
	fd := w.workers[0].fd
	maps, err := w.host.pinnedMaps()
	if err != nil {
		t.Fatal(err)
	}
	defer maps.close()
	marked := func() bool {
		var origin abiOrigin
		err := maps.Origins.Lookup(int32(fd), &origin)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			t.Fatal(err)
		}
		return err == nil
	}
	if !marked() {
		t.Fatal("a listener with a slot has no mark")
	}
	w.must(w.group.Remove(0))
	for range 2 { // no mark is no error
		w.must(w.group.Forget(fd))
		if marked() {
			t.Error("it has its mark still")
		}
	}
}
