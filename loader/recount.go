package loader

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
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
// program saw would leave its slot wrong for good: on some virtual machines no
// program runs for a tracepoint that a packet hits while certain threads of the
// machine's own agent are interrupted. Recount returns by how many connections
// counts were wrong, too high or too low, all together.
//
// A count is changed only by what the traffic meanwhile can't explain. Where that
// leaves a doubt the rest waits for a later call.
//
// It works in the calling thread's network namespace, which must be the
// group's. It costs a walk over the kernel's table of connections, which takes a
// few milliseconds and more with many thousand connections at the group's port,
// and nothing in the way of a connection. Groups that are recounted at the same
// time share a walk, and one that was found empty costs none until something
// happens there.
func (g *Group) Recount() (corrected int, err error) {
	defer wrap(&err, "group %s: recount connections", g.name)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := g.inNamespace(); err != nil {
		return 0, err
	}
	digest := g.memory.value.digest()
	if digest == g.empty.Load() {
		return 0, nil
	}
	maps, err := g.host.pinnedMaps()
	if err != nil {
		return 0, err
	}
	defer maps.close()
	r := recounter{group: g, maps: maps}
	first, err := r.look()
	if err != nil {
		return 0, err
	}
	if !first.doubtful() {
		g.noteEmpty(digest, &first)
		return 0, nil
	}
	unlock, err := g.exclusive() // slots keep their owners, and two don't correct the same
	if err != nil {
		return 0, err
	}
	defer unlock()
	return r.recount()
}

// noteEmpty remembers what a group showed that had no connections, nor moves of
// any: until something happens there nothing can be wrong. Where there are
// connections, they may close unseen.
func (g *Group) noteEmpty(digest uint64, l *look) {
	for _, slot := range l.before.slot {
		if slot.connections != 0 {
			return
		}
	}
	if l.before.moved == 0 {
		g.empty.Store(digest)
	}
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

// A recounter looks at a group's sockets.
type recounter struct {
	group *Group
	maps  *hostMaps
}

// recount walks until it knows what is wrong, and puts that right. The lock must be held.
func (r *recounter) recount() (corrected int, err error) {
	m := r.group.memory.value
	suspects, err := r.moves()
	if err != nil {
		return 0, err
	}
	var slots [MaxSlots]evidence
	for round := range recountRounds {
		if round >= recountWitnesses && settled(&slots) {
			break
		}
		time.Sleep(recountPause)
		l, err := r.look()
		if err != nil {
			return 0, err
		}
		for i := range slots {
			slots[i].add(l.drift(i))
		}
		for _, cookie := range l.tally.moved {
			delete(suspects, cookie)
		}
	}
	for i := range slots {
		corrected += m.correct(i, slots[i].drift())
	}
	if corrected > 0 {
		atomic.AddUint64(&m.Counters.Corrected, uint64(corrected))
		m.forgetHints()
	}
	return corrected, r.forget(suspects)
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

// moves are the cookies of connections that the group has in the map of moves.
func (r *recounter) moves() (map[uint64]bool, error) {
	cookies := make(map[uint64]bool)
	var cookie uint64
	var place abiOrigin
	all := r.maps.Moved.Iterate()
	for all.Next(&cookie, &place) {
		if place.Group == r.group.memory.value.Id {
			cookies[cookie] = true
		}
	}
	if err := all.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return nil, fmt.Errorf("read moves: %w", err)
	}
	return cookies, nil
}

// forget removes moves of connections that are no more, whose close went unseen.
func (r *recounter) forget(moves map[uint64]bool) error {
	for cookie := range moves {
		err := r.maps.Moved.Delete(cookie)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			continue // its close was seen after all
		}
		if err != nil {
			return fmt.Errorf("forget a move: %w", err)
		}
		atomic.AddUint64(&r.group.memory.value.Moved, ^uint64(0))
	}
	return nil
}
