package loader

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

const (
	// recountRounds bounds how often the sockets are walked when a count looks wrong.
	recountRounds = 12
	// recountWitnesses is how many rounds must have seen a difference. A
	// connection that closes at the very moment at which a walk ends can look
	// like one in a single round, but not in one round after the other.
	recountWitnesses = 3
	// recountPause lets events that were under way in one round end before the next.
	recountPause = 2 * time.Millisecond
)

// Recount compares the slots' connections with the sockets that there are, and
// puts right what differs. The counts go by events in the kernel; one that no
// program saw (see bpf/recount.h) would leave its slot wrong for good. It returns
// by how many connections counts were wrong, too high or too low, all together.
//
// A count is changed only by what the traffic meanwhile can't explain. Where that
// leaves a doubt the rest waits for a later call.
//
// Don't call it while connections come in at the network namespace, from whomever
// to whatever port. The kernel (seen on 6.18) has a half-open connection in its
// table for a moment before the first reference to it is counted; the iterator over
// TCP sockets takes a reference nevertheless (bpf_iter_tcp_established_batch: "refcount_t:
// addition on 0; use-after-free"), and the accept queue with that connection is
// corrupted later. That was met once, after tens of thousands of walks at some
// thousand connections a second. Adopt and Steerers walk in the same way, once.
//
// It works in the calling thread's network namespace, which must be
// the group's. The first call on a handle loads the program (some ten
// milliseconds); from then on one costs a walk over the kernel's table of connections.
func (g *Group) Recount() (corrected int, err error) {
	defer wrap(&err, "group %s: recount connections", g.name)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := g.inNamespace(); err != nil {
		return 0, err
	}
	r, err := g.openRecounter()
	if err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	first, _, err := r.look(g, false)
	if err != nil || !first.doubtful() {
		return 0, err
	}
	unlock, err := g.exclusive() // slots keep their owners, and two don't correct the same
	if err != nil {
		return 0, err
	}
	defer unlock()
	return r.recount(g)
}

// inNamespace: elsewhere there is no socket of the group, and all counts would look too high.
func (g *Group) inNamespace() error {
	var here unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &here); err != nil {
		return fmt.Errorf("which network namespace is this: %w", err)
	}
	if want := g.memory.value.Meta.Netns; here.Ino != want {
		return fmt.Errorf("its connections are in network namespace %d, and this is %d: %w", want, here.Ino, unix.EXDEV)
	}
	return nil
}

// A recounter is the iterator, ready to be used again.
type recounter struct {
	mu     sync.Mutex
	walk   *link.Iter
	moved  *ebpf.Map
	result *mapping[abiTally]
}

// openRecounter loads the iterator once a handle.
func (g *Group) openRecounter() (*recounter, error) {
	g.recounting.Lock()
	defer g.recounting.Unlock()
	if err := g.pinned(); err != nil {
		return nil, err
	}
	if g.recounter != nil {
		return g.recounter, nil
	}
	maps, err := g.host.pinnedMaps()
	if err != nil {
		return nil, err
	}
	defer maps.close()
	var objects struct {
		Recount   *ebpf.Program `ebpf:"recount"`
		Recounted *ebpf.Map     `ebpf:"recounted"`
	}
	if err := load(&objects, map[string]*ebpf.Map{"origins": maps.Origins, "moved": maps.Moved, "slots": g.slots}); err != nil {
		return nil, err
	}
	defer closeAll(objects.Recount, objects.Recounted)
	r := new(recounter)
	if r.result, err = mapValue[abiTally](objects.Recounted); err != nil {
		return nil, err
	}
	if r.moved, err = maps.Moved.Clone(); err != nil {
		return nil, err
	}
	if r.walk, err = link.AttachIter(link.IterOptions{Program: objects.Recount}); err != nil {
		r.moved.Close()
		return nil, &UnsupportedError{Feature: "the iterator over TCP sockets", MinKernel: "6.1", Err: err}
	}
	g.recounter = r
	return r, nil
}

// closeRecounter is for Close.
func (g *Group) closeRecounter() {
	g.recounting.Lock()
	defer g.recounting.Unlock()
	if r := g.recounter; r != nil {
		r.walk.Close()
		r.moved.Close()
		g.recounter = nil
	}
}

// recount walks until it knows what is wrong, and puts that right. The lock must be held.
func (r *recounter) recount(g *Group) (corrected int, err error) {
	suspects, err := r.moves(g.memory.value.Id)
	if err != nil {
		return 0, err
	}
	var slots [MaxSlots]evidence
	for round := range recountRounds {
		if round >= recountWitnesses && settled(&slots) {
			break
		}
		time.Sleep(recountPause)
		l, present, err := r.look(g, true)
		if err != nil {
			return 0, err
		}
		for i := range slots {
			slots[i].add(l.drift(i))
		}
		for _, cookie := range present {
			delete(suspects, cookie)
		}
	}
	for i := range slots {
		corrected += g.memory.value.correct(i, slots[i].drift())
	}
	if corrected > 0 {
		atomic.AddUint64(&g.memory.value.Counters.Corrected, uint64(corrected))
		g.memory.value.forgetHints()
	}
	return corrected, r.forget(g, suspects)
}

func settled(slots *[MaxSlots]evidence) bool {
	for i := range slots {
		if !slots[i].exact() {
			return false
		}
	}
	return true
}

// correct takes what is too much off a slot's connections, or adds what is
// lacking, and says how much that was. The programs count on meanwhile.
func (m *abiGroup) correct(slot, excess int) int {
	counts := &m.Slot[slot].Counts
	for excess != 0 {
		old := atomic.LoadUint64(counts)
		if excess > 0 && connectionsIn(old) < excess {
			return 0 // never below 0
		}
		// A count below 0 has borrowed from the high half: that gets it back.
		if atomic.CompareAndSwapUint64(counts, old, old-uint64(int64(excess))) {
			break
		}
	}
	return max(excess, -excess)
}

// moves are the cookies of connections that a group has in the map of moves.
func (r *recounter) moves(group uint32) (map[uint64]bool, error) {
	cookies := make(map[uint64]bool)
	var cookie uint64
	var place abiOrigin
	all := r.moved.Iterate()
	for all.Next(&cookie, &place) {
		if place.Group == group {
			cookies[cookie] = true
		}
	}
	if err := all.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return nil, fmt.Errorf("read moves: %w", err)
	}
	return cookies, nil
}

// forget removes moves of connections that are no more, whose close went unseen.
func (r *recounter) forget(g *Group, moves map[uint64]bool) error {
	for cookie := range moves {
		err := r.moved.Delete(cookie)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			continue // its close was seen after all
		}
		if err != nil {
			return fmt.Errorf("forget a move: %w", err)
		}
		atomic.AddUint64(&g.memory.value.Moved, ^uint64(0))
	}
	return nil
}
