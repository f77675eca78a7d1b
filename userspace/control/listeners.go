package control

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
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
	crew     *crew
	log      *slog.Logger
	fail     func(error) // ends the app
	complete func()      // is told of every group that is announced

	mu        sync.Mutex
	changed   time.Time // when a socket last came to be ours, or was shut for a moment
	byCookie  map[uint64]*place
	byPlace   map[seat]*place
	waiting   map[seat]bool  // another socket wants the seat
	shut      map[uint64]int // how often by us, for a moment: so many Closed events are to come
	announced map[sockets.Group]bool
	said      map[string]bool // what is said once
	standby   map[uint64]bool // sockets that are no worker's, and no stranger's

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

func newListeners(steering Steering, c *Config, crew *crew, fail func(error), complete func()) *listeners {
	return &listeners{
		steering: steering, ports: c.Ports, crew: crew, log: c.Logger, fail: fail, complete: complete,
		byCookie:  make(map[uint64]*place),
		byPlace:   make(map[seat]*place),
		waiting:   make(map[seat]bool),
		shut:      make(map[uint64]int),
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
	w := l.homes()[e.Cgroup]
	if w == nil || !l.wants(e.Address.Port()) {
		return
	}
	w.heard()
	if !l.knows(e.Cookie) && !l.scan()[e.Cookie] {
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
func (l *listeners) scan() map[uint64]bool { return l.scanSince(time.Now()) }

// scanSince is content with a list of listeners that somebody else made after the
// moment, as long as it has all that are ours.
func (l *listeners) scanSince(moment time.Time) map[uint64]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	ours := l.homes()
	if moment.Before(l.changed) {
		moment = l.changed
	}
	found, err := sockets.ListenersSince(moment)
	if err != nil {
		l.log.Error(fmt.Sprintf("look for listeners of the workers: %v", err))
		return nil
	}
	l.missClosed(found)
	settled := make(map[uint64]bool)
	homes := l.homes()
	maps.Copy(ours, homes) // a worker may have moved meanwhile
	for _, socket := range found {
		w := homes[socket.Cgroup]
		if w == nil || !l.wants(socket.Address.Port()) {
			continue
		}
		w.heard()
		settled[socket.Cookie] = l.byCookie[socket.Cookie] != nil ||
			l.meetsStranger(socket.Group(), found, ours) || l.adopt(w, socket)
	}
	return settled
}

// missClosed marks what isn't among the listeners any more.
func (l *listeners) missClosed(found []sockets.Listener) {
	present := make(map[uint64]bool, len(l.byCookie))
	for _, socket := range found { // of all apps
		if l.byCookie[socket.Cookie] != nil {
			present[socket.Cookie] = true
		}
	}
	for cookie, p := range l.byCookie {
		if !present[cookie] {
			p.closed = true
			delete(l.byCookie, cookie)
		}
	}
}

// homes returns the workers by the ID of their leaf.
func (l *listeners) homes() map[uint64]*worker {
	homes := make(map[uint64]*worker)
	for _, w := range l.crew.all() {
		if home := w.home(); home != nil {
			homes[home.ID()] = w
		}
	}
	return homes
}

func (l *listeners) knows(cookie uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byCookie[cookie] != nil
}

// servedBy returns the groups in which the worker in a slot listens.
func (l *listeners) servedBy(slot int) []sockets.Group {
	l.mu.Lock()
	defer l.mu.Unlock()
	var groups []sockets.Group
	for at, p := range l.byPlace {
		if at.slot == slot && !p.closed {
			groups = append(groups, at.group)
		}
	}
	return groups
}

// closed handles a Closed event.
func (l *listeners) closed(e Event) {
	if l.vacate(e.Cookie) {
		l.scan()
	}
}

// vacate notes that a socket is closed, and tells whether another one waits
// for its seat.
func (l *listeners) vacate(cookie uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.byCookie[cookie]
	switch {
	case p == nil:
		delete(l.shut, cookie)
		return false
	case l.shut[cookie] > 0:
		l.shut[cookie]--
		return false
	}
	p.closed = true
	delete(l.byCookie, cookie)
	waits := l.waiting[p.seat]
	delete(l.waiting, p.seat)
	return waits
}

// forget has every listener adopted again at the next scan.
func (l *listeners) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.byCookie)
	clear(l.byPlace)
	delete(l.said, "restore")
}

// release frees the slot of a worker that won't come back, in all groups: one
// that died while it was taken over has a slot that was never noted here.
func (l *listeners) release(slot int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	groups := make(map[sockets.Group]bool)
	for at, p := range l.byPlace {
		groups[at.group] = true
		if at.slot == slot {
			delete(l.byPlace, at)
			delete(l.waiting, at)
			delete(l.byCookie, p.cookie)
		}
	}
	for g := range groups {
		if err := l.steering.Release(slot, g); err != nil {
			l.log.Error(fmt.Sprintf("free slot %d of %s: %v", slot, g.Address, err))
		}
	}
}

// sayOnce is once for who doesn't hold the lock.
func (l *listeners) sayOnce(key, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.once(key, text)
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
