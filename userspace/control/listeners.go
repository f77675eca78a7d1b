package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sockdist/sockdist/userspace/sockets"
)

// lookAgain are the pauses after which a listener that was announced, but
// isn't there, is looked for again: the event comes from inside of listen(2),
// a moment before others can see the socket.
var lookAgain = []time.Duration{
	2 * time.Millisecond, 20 * time.Millisecond, 200 * time.Millisecond, time.Second,
}

// listeners gives the workers' listening sockets their slots.
type listeners struct {
	steering Steering
	ports    []uint16
	workers  []*worker
	log      *slog.Logger

	mu        sync.Mutex
	byCookie  map[uint64]*place
	byPlace   map[seat]*place
	announced map[sockets.Group]bool
	said      map[string]bool // what is said once

	searches sync.WaitGroup
}

// seat is where a socket can be adopted.
type seat struct {
	slot  int
	group sockets.Group
}

// place is a seat that is taken.
type place struct {
	seat
	cookie uint64
	// closed sockets keep their seat until the worker, or the next in its slot,
	// takes it again: connections that came through them are counted there.
	closed bool
}

func newListeners(steering Steering, c *Config, workers []*worker) *listeners {
	return &listeners{
		steering: steering, ports: c.Ports, workers: workers, log: c.Logger,
		byCookie:  make(map[uint64]*place),
		byPlace:   make(map[seat]*place),
		announced: make(map[sockets.Group]bool),
		said:      make(map[string]bool),
	}
}

// wants tells whether workers share the port.
func (l *listeners) wants(port uint16) bool {
	return len(l.ports) == 0 || slices.Contains(l.ports, port)
}

// appeared handles a Listening event.
func (l *listeners) appeared(ctx context.Context, e Event) {
	w := l.workerIn(e.Cgroup)
	if w == nil || !l.wants(e.Address.Port()) {
		return
	}
	w.heard()
	if !l.scan()[e.Cookie] {
		l.searches.Go(func() { l.search(ctx, e) })
	}
}

// search looks for an announced listener until it is there, or never will be.
func (l *listeners) search(ctx context.Context, e Event) {
	for _, pause := range lookAgain {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		if l.scan()[e.Cookie] {
			return
		}
	}
	l.log.Debug("a worker's listener isn't there any more", "address", e.Address, "cookie", e.Cookie)
}

// scan compares the workers' listeners with what has a slot, and adopts those
// which are new. It returns the cookies of those that are
// dealt with, with or without a slot; only the others are worth another look.
func (l *listeners) scan() map[uint64]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	found, err := sockets.Listeners(sockets.Address{})
	if err != nil {
		l.log.Error(fmt.Sprintf("look for listeners of the workers: %v", err))
		return nil
	}
	l.missClosed(found)
	settled := make(map[uint64]bool)
	for _, socket := range found {
		w := l.workerIn(socket.Cgroup)
		if w == nil || !l.wants(socket.Address.Port()) {
			continue
		}
		w.heard()
		settled[socket.Cookie] = l.byCookie[socket.Cookie] != nil || l.adopt(w, socket)
	}
	return settled
}

// missClosed marks what isn't among the listeners any more.
func (l *listeners) missClosed(found []sockets.Listener) {
	present := make(map[uint64]bool)
	for _, socket := range found {
		present[socket.Cookie] = true
	}
	for cookie, p := range l.byCookie {
		if !present[cookie] {
			p.closed = true
			delete(l.byCookie, cookie)
		}
	}
}

func (l *listeners) workerIn(leaf uint64) *worker {
	for _, w := range l.workers {
		if w.leaf.ID() == leaf {
			return w
		}
	}
	return nil
}

// adopt gives a socket its slot, and tells whether it is dealt with: one that
// can't have a slot is.
func (l *listeners) adopt(w *worker, found sockets.Listener) bool {
	at := seat{w.slot, found.Group()}
	taken := l.byPlace[at]
	if taken != nil && !taken.closed {
		l.once(fmt.Sprintf("second %v", at), fmt.Sprintf(
			"worker %d listens on %s with several sockets: one of them gets its connections", w.slot, found.Address))
		return true
	}

	err := l.fetchAndAdopt(w, found, at)
	switch {
	case err == nil:
		taken = &place{seat: at, cookie: found.Cookie}
		l.byPlace[at], l.byCookie[found.Cookie] = taken, taken
		l.log.Debug("adopted a listener", "slot", w.slot, "address", found.Address, "cookie", found.Cookie)
		l.announce(at.group, false)
	case gone(err):
		l.log.Debug("a worker's listener is gone again", "slot", w.slot, "address", found.Address, "why", err)
		return false
	case errors.Is(err, errAlone):
		l.once("alone", fmt.Sprintf("worker %d's listener on %s gets no slot: %v", w.slot, found.Address, err))
	default:
		l.once(fmt.Sprintf("%v %v", at.group, withoutNumbers(err.Error())),
			fmt.Sprintf("worker %d's listener on %s gets no slot: %v", w.slot, found.Address, err))
	}
	return true
}

// fetchAndAdopt has a copy of the descriptor only while it runs.
func (l *listeners) fetchAndAdopt(w *worker, found sockets.Listener, at seat) error {
	if found.MPTCP {
		return errMPTCP
	}
	holder, err := holderIn(w.leaf, found.Inode)
	if err != nil {
		return err
	}
	began, err := sockets.StartTime(holder.PID)
	if err != nil {
		return err
	}
	socket, err := found.Fetch(holder)
	if err != nil {
		return err
	}
	defer socket.Close()

	described, err := sockets.Describe(socket.FD())
	if err != nil {
		return err
	}
	if !described.ReusePort {
		return errAlone
	}
	return l.steering.Adopt(w.slot, at.group, Listener{
		FD: socket.FD(), PID: holder.PID, Start: began, Cookie: found.Cookie,
	})
}

var (
	errMPTCP = errors.New("it speaks MPTCP, and the kernel can't put such sockets into a slot: " +
		"set GODEBUG=multipathtcp=0 for a Go server, or what makes another one listen with plain TCP")

	errAlone = errors.New("it doesn't share its port (no SO_REUSEPORT), as when the kernel chose the port: " +
		"have the server listen on a fixed port")
)

// gone tells the errors of a socket or process that ended while we looked.
func gone(err error) bool {
	return errors.Is(err, os.ErrProcessDone) || errors.Is(err, fs.ErrNotExist) ||
		errors.Is(err, sockets.ErrChanged) || errors.Is(err, ErrNotListening)
}

// closed handles a Closed event. The worker may have another socket there,
// which had to wait.
func (l *listeners) closed(e Event) {
	l.mu.Lock()
	ours := l.byCookie[e.Cookie] != nil
	l.mu.Unlock()
	if ours {
		l.scan()
	}
}

// release frees all slots of a worker that won't come back.
func (l *listeners) release(slot int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for at, p := range l.byPlace {
		if at.slot != slot {
			continue
		}
		delete(l.byPlace, at)
		delete(l.byCookie, p.cookie)
		if err := l.steering.Release(slot, at.group); err != nil {
			l.log.Error(fmt.Sprintf("free slot %d of %s: %v", slot, at.group.Address, err))
		}
	}
}

// serving returns the slots that listen in the group, in order.
func (l *listeners) serving(g sockets.Group) []int {
	var slots []int
	for at, p := range l.byPlace {
		if at.group == g && !p.closed {
			slots = append(slots, at.slot)
		}
	}
	slices.Sort(slots)
	return slots
}

// announce says once that a group is complete, or, if it never will be, what
// there is.
func (l *listeners) announce(g sockets.Group, anyway bool) {
	slots := l.serving(g)
	if l.announced[g] || len(slots) == 0 || (len(slots) < len(l.workers) && !anyway) {
		return
	}
	l.announced[g] = true
	of := ""
	if len(slots) < len(l.workers) {
		of = fmt.Sprintf(" of %d", len(l.workers))
	}
	noun := "workers"
	if len(l.workers) == 1 {
		noun = "worker"
	}
	l.log.Info(fmt.Sprintf("listening on %s with %d%s %s (pids %s)", g.Address, len(slots), of, noun, l.pids(slots)))
}

func (l *listeners) pids(slots []int) string {
	pids := make([]int, len(slots))
	for i, slot := range slots {
		pids[i] = l.workers[slot].pid()
	}
	return joinNumbers(pids)
}

// takeStock is called when the workers had time enough to listen. It tells
// whether any does.
func (l *listeners) takeStock() bool {
	l.scan()
	l.mu.Lock()
	defer l.mu.Unlock()
	any := false
	for at, p := range l.byPlace {
		if !p.closed {
			any = true
			if len(l.announced) == 0 {
				l.announce(at.group, true)
			}
		}
	}
	return any
}

// isAnnounced tells whether all workers serve, or did, at the address.
func (l *listeners) isAnnounced(address netip.AddrPort) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for g := range l.announced {
		if g.Address == address {
			return true
		}
	}
	return false
}

// once says a thing the first time.
func (l *listeners) once(key, text string) {
	if !l.said[key] {
		l.said[key] = true
		l.log.Warn(text)
	}
}

// withoutNumbers makes two messages about two processes the same one.
func withoutNumbers(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, text)
}
