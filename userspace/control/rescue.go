package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sockdist/sockdist/userspace/sockets"
)

// backlogs returns how many connections wait at each slot, in all groups
// together. Slots with none may be missing.
func (l *listeners) backlogs() (map[int]uint64, error) {
	slots := make(map[uint64]int) // by cookie
	ports := make(map[uint16]bool)
	l.mu.Lock()
	for cookie, p := range l.byCookie {
		slots[cookie] = p.slot
		ports[p.group.Address.Port()] = true
	}
	l.mu.Unlock()
	waiting := make(map[int]uint64)
	for port := range ports {
		found, err := sockets.Backlogs(port)
		if err != nil {
			return nil, err
		}
		for cookie, backlog := range found {
			if slot, ours := slots[cookie]; ours {
				waiting[slot] += uint64(backlog)
			}
		}
	}
	return waiting, nil
}

// hasOthers tells whether other workers listen wherever the one in the slot does.
func (l *listeners) hasOthers(slot int) bool {
	for _, g := range l.servedBy(slot) {
		if slots := l.slotsIn(g); len(slots) == 1 {
			return false
		}
	}
	return true
}

// rescue gives what waits at a worker's listeners to other workers. The
// listeners stay the worker's, and in its slot. It stands still meanwhile: a
// worker that goes on just now, or is only slow, sees nothing of it.
func (l *listeners) rescue(w *worker) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	found, err := sockets.Listeners(sockets.Address{})
	if err != nil {
		return err
	}
	return w.home().Frozen(context.Background(), func() error {
		var failed error
		for _, socket := range found {
			if p := l.byCookie[socket.Cookie]; p != nil && p.slot == w.slot {
				failed = errors.Join(failed, l.rescueOne(w, socket))
			}
		}
		return failed
	})
}

func (l *listeners) rescueOne(w *worker, found sockets.Listener) error {
	socket, listener, err := fetch(w, found)
	if err != nil {
		return err
	}
	defer socket.Close()
	l.shut[found.Cookie]++
	defer func() { l.changed = time.Now() }()
	if err := sockets.Rescue(socket.FD(), found.MaxBacklog); err != nil {
		return err
	}
	listener.Hold = Hung
	if err := l.steering.Adopt(w.slot, found.Group(), listener); err != nil {
		return fmt.Errorf("give it its slot back: %w", err)
	}
	return nil
}
