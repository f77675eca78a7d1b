// Package controltest has a kernel side for tests of supervisors. It steers
// nothing and takes notes.
//
// It keeps the promises that [control.Steering] makes: a slot holds one
// listening socket, a taken one is refused, events come in order, and Next
// ends with Detach. What it can't do is what takes a program in the kernel: it
// sets no SO_REUSEPORT on what workers bind, so their servers must do that
// themselves; it sees sockets by looking every few milliseconds, so it misses
// those that live for less; and connections are as many as a test says.
package controltest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// lookEvery is how often the sockets are looked at.
const lookEvery = 10 * time.Millisecond

// Kernel is a [control.Kernel] for one app. The zero value is ready.
type Kernel struct {
	// Deaf has it send no events but those of Emit.
	Deaf bool
	// Refuse, if set, may refuse to adopt.
	Refuse func(slot int, g sockets.Group) error

	mu      sync.Mutex
	app     control.App
	opened  int
	events  chan control.Event
	broken  error
	seats   map[Seat]control.Listener
	notes   []string
	traffic map[int]control.Traffic
	looks   int
	glances int

	stop    chan struct{}
	stopped sync.WaitGroup
}

// Seat is a slot of a group.
type Seat struct {
	Slot  int
	Group sockets.Group
}

// Open implements [control.Kernel].
func (k *Kernel) Open(app control.App) (control.Steering, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stop != nil {
		return nil, errors.New("there is an app already")
	}
	if _, err := os.Stat(app.Cgroup); err != nil {
		return nil, fmt.Errorf("open app %s: %w", app.Name, err)
	}
	k.app = app
	k.opened++
	k.events = make(chan control.Event, 1024)
	k.seats = make(map[Seat]control.Listener)
	k.stop = make(chan struct{})
	if !k.Deaf {
		k.stopped.Go(func() { k.look(k.stop) })
	}
	return &steering{Kernel: k, events: k.events, stop: k.stop}, nil
}

// App returns what Open was called with.
func (k *Kernel) App() control.App {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.app
}

// IsOpen tells whether there is an app.
func (k *Kernel) IsOpen() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stop != nil
}

// Opened returns how often there was an app.
func (k *Kernel) Opened() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.opened
}

// Seats returns the slots that are taken, and what by.
func (k *Kernel) Seats() map[Seat]control.Listener {
	k.mu.Lock()
	defer k.mu.Unlock()
	seats := make(map[Seat]control.Listener, len(k.seats))
	for seat, listener := range k.seats {
		seats[seat] = listener
	}
	return seats
}

// Notes returns what was done, in order, as in "adopt 0 127.0.0.1:80",
// "release 0 127.0.0.1:80", "hold 0 leaving", "detach".
func (k *Kernel) Notes() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]string(nil), k.notes...)
}

// SetConnections sets what Traffic says of a slot.
func (k *Kernel) SetConnections(slot int, n uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.traffic == nil {
		k.traffic = make(map[int]control.Traffic)
	}
	t := k.traffic[slot]
	t.Connections = n
	k.traffic[slot] = t
}

// SetOpened sets how many connections Traffic says that a slot ever had.
func (k *Kernel) SetOpened(slot int, n uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.traffic == nil {
		k.traffic = make(map[int]control.Traffic)
	}
	t := k.traffic[slot]
	t.Opened = n
	k.traffic[slot] = t
}

// Looked returns how often Traffic, and functions of Glancer, were called.
func (k *Kernel) Looked() (looks, glances int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.looks, k.glances
}

// Emit sends an event, as the kernel would.
func (k *Kernel) Emit(e control.Event) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.emit(e)
}

// Break has Next return an error.
func (k *Kernel) Break(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.broken = err
	k.emit(control.Event{})
}

func (k *Kernel) emit(e control.Event) {
	if k.stop == nil {
		return
	}
	select {
	case k.events <- e:
	default: // as a ring buffer does
	}
}

// look turns what has changed among the app's listeners into events.
func (k *Kernel) look(stop chan struct{}) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	known := make(map[uint64]control.Event)
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		now := k.listeners()
		if now == nil {
			continue
		}
		k.mu.Lock()
		for cookie, e := range known {
			if _, still := now[cookie]; !still {
				e.Kind = control.Closed
				k.emit(e)
			}
		}
		for cookie, e := range now {
			if _, old := known[cookie]; !old {
				k.emit(e)
			}
		}
		k.mu.Unlock()
		known = now
	}
}

// listeners returns those of the app's leaves, as events.
func (k *Kernel) listeners() map[uint64]control.Event {
	leaves := make(map[uint64]bool)
	folders, err := filepath.Glob(filepath.Join(k.app.Cgroup, "*", "cgroup.procs"))
	if err != nil {
		return nil
	}
	for _, folder := range folders {
		var stat unix.Stat_t
		if unix.Stat(filepath.Dir(folder), &stat) == nil {
			leaves[stat.Ino] = true
		}
	}
	found, err := sockets.Listeners(sockets.Address{})
	if err != nil {
		return nil
	}
	events := make(map[uint64]control.Event)
	for _, l := range found {
		if leaves[l.Cgroup] {
			events[l.Cookie] = control.Event{
				Kind: control.Listening, Cookie: l.Cookie, Cgroup: l.Cgroup, Address: l.Address,
			}
		}
	}
	return events
}

// steering is the Kernel as its one app's [control.Steering].
type steering struct {
	*Kernel
	events <-chan control.Event
	stop   chan struct{}
}

func (s *steering) Next() (control.Event, error) {
	select {
	case e := <-s.events:
		s.mu.Lock()
		defer s.mu.Unlock()
		return e, s.broken
	case <-s.stop:
		return control.Event{}, fmt.Errorf("read events: %w", os.ErrClosed)
	}
}

func (s *steering) Adopt(slot int, g sockets.Group, l control.Listener) error {
	if s.Refuse != nil {
		if err := s.Refuse(slot, g); err != nil {
			return err
		}
	}
	d, err := sockets.Describe(l.FD)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	seat := Seat{slot, g}
	switch {
	case !d.Listening:
		return control.ErrNotListening
	case d.Cookie != l.Cookie || d.Group() != g:
		return fmt.Errorf("the socket is %+v, not %+v of %+v", d, l, g)
	case s.seats[seat].Cookie == l.Cookie:
		return nil
	case isOpen(s.seats[seat].Cookie):
		return fmt.Errorf("slot %d is taken", slot)
	}
	l.FD = -1 // closed by its owner, soon
	s.seats[seat] = l
	s.setHeld(slot, l.Hold)
	s.note("adopt %d %s", slot, g.Address)
	return nil
}

// isOpen tells whether a socket still listens.
func isOpen(cookie uint64) bool {
	if cookie == 0 {
		return false
	}
	found, err := sockets.Listeners(sockets.Address{})
	return err != nil || slices.ContainsFunc(found, func(l sockets.Listener) bool { return l.Cookie == cookie })
}

func (s *steering) Release(slot int, g sockets.Group) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.seats, Seat{slot, g})
	s.note("release %d %s", slot, g.Address)
	return nil
}

func (s *steering) Hold(slot int, why control.Hold) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setHeld(slot, s.traffic[slot].Held|why)
	s.note("hold %d %s", slot, why)
	return nil
}

func (s *steering) Unhold(slot int, why control.Hold) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setHeld(slot, s.traffic[slot].Held&^why)
	s.note("unhold %d %s", slot, why)
	return nil
}

func (k *Kernel) setHeld(slot int, held control.Hold) {
	if k.traffic == nil {
		k.traffic = make(map[int]control.Traffic)
	}
	t := k.traffic[slot]
	t.Held = held
	k.traffic[slot] = t
}

func (s *steering) Excuse(slot int, g sockets.Group, from bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note("excuse %d %s %v", slot, g.Address, from)
	return nil
}

// Report gives an empty file for the loads.
func (s *steering) Report(slot int, g sockets.Group, cookie uint64) (string, *os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seats[Seat{slot, g}].Cookie != cookie {
		return "", nil, fmt.Errorf("slot %d is another's", slot)
	}
	s.note("report %d %s", slot, g.Address)
	loads, err := os.Open(os.DevNull)
	return "group", loads, err
}

func (s *steering) Inherit(from, to int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note("inherit %d %d", from, to)
	return nil
}

func (s *steering) Keep(slots []int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for seat := range s.seats {
		if !slices.Contains(slots, seat.Slot) {
			delete(s.seats, seat)
		}
	}
	s.note("keep %v", slots)
	return nil
}

// Restore has nothing that could be lost.
func (s *steering) Restore() (bool, error) { return false, nil }

// Recount counts nothing.
func (s *steering) Recount() (int, error) { return 0, nil }

func (s *steering) Unsteer(g sockets.Group, _ int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note("unsteer %s", g.Address)
	return nil
}

// Dial connects to whomever the kernel's hash chooses.
func (s *steering) Dial(ctx context.Context, slot int, g sockets.Group) (net.Conn, error) {
	s.mu.Lock()
	s.note("dial %d %s", slot, g.Address)
	s.mu.Unlock()
	return new(net.Dialer).DialContext(ctx, "tcp", g.Address.String())
}

func (s *steering) Traffic() (map[int]control.Traffic, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks++
	traffic := make(map[int]control.Traffic)
	for slot, t := range s.traffic {
		traffic[slot] = t
	}
	return traffic, nil
}

// Glancer's function compares with the last time, word by word.
func (s *steering) Glancer() func() bool {
	var last map[int]control.Traffic
	return func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.glances++
		happened := !maps.Equal(s.traffic, last)
		for slot, t := range s.traffic {
			happened = happened || t.Beat != 0 && t.Beat == last[slot].Beat
		}
		last = maps.Clone(s.traffic)
		return happened
	}
}

// Close implements [control.Steering]: a test sees no difference to Detach.
func (s *steering) Close() error { return s.end("close") }

func (s *steering) Detach() error { return s.end("detach") }

func (s *steering) end(note string) error {
	close(s.stop)
	s.stopped.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note("%s", note)
	s.Kernel.stop = nil
	return nil
}

func (k *Kernel) note(format string, args ...any) {
	k.notes = append(k.notes, fmt.Sprintf(format, args...))
}
