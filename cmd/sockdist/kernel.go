package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"strings"
	"sync"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// A kernel gives the supervisor what it needs of the loader.
type kernel struct {
	host *loader.Host
	udp  bool
	log  *slog.Logger
	// opened is called when the pins of an app are there, before its workers; it may be nil.
	opened func()

	choosing sync.Mutex
	policy   loader.Policy // of new groups
}

// SetPolicy is for groups that come to be from now on.
func (k *kernel) SetPolicy(p loader.Policy) {
	k.choosing.Lock()
	defer k.choosing.Unlock()
	k.policy = p
}

func (k *kernel) newPolicy() loader.Policy {
	k.choosing.Lock()
	defer k.choosing.Unlock()
	return k.policy
}

func (k *kernel) Open(app control.App) (s control.Steering, err error) {
	if app.TakeOver {
		s, err = k.takeOver(app)
	} else {
		s, err = k.begin(app)
	}
	if err == nil && k.opened != nil {
		k.opened()
	}
	return s, err
}

// begin makes the kernel side of an app.
func (k *kernel) begin(app control.App) (*steering, error) {
	if err := k.clear(app.Name); err != nil {
		return nil, err
	}
	pinned, err := k.host.CreateApp(loader.AppSpec{Name: app.Name, Cgroup: app.Cgroup, Ports: app.Ports, UDP: k.udp})
	if err != nil {
		return nil, err
	}
	events, err := openEvents(pinned)
	if err != nil {
		err = errors.Join(err, pinned.Destroy())
		pinned.Close()
		return nil, err
	}
	return &steering{kernel: k, cgroup: app.Cgroup, app: pinned, events: events, groups: make(map[sockets.Group]*loader.Group)}, nil
}

func openEvents(app *loader.App) (*loader.Events, error) {
	if err := app.SetSupervisor(os.Getpid()); err != nil {
		return nil, err
	}
	return app.Events()
}

// clear removes what an earlier supervisor of that name left; none runs any more.
func (k *kernel) clear(name string) error {
	if err := k.clearRuins(name); err != nil {
		return err
	}
	groups, err := allGroups(k.host)
	if err != nil {
		return err
	}
	defer closeGroups(groups)
	for _, g := range groups {
		if g.Spec().App == name {
			if err := g.Destroy(); err != nil {
				return err
			}
		}
	}
	app, err := k.host.App(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer app.Close()
	return app.Destroy()
}

// steering is the kernel side of one running app.
type steering struct {
	*kernel
	cgroup string
	app    *loader.App
	events *loader.Events

	mu     sync.RWMutex // for reading: while the groups are read
	groups map[sockets.Group]*loader.Group
	before *predecessor // of an app that was taken over, or lost its pins; nil: there is none
}

func (s *steering) Next() (control.Event, error) {
	e, err := s.nextEvent()
	if err != nil {
		return control.Event{}, err
	}
	kind := map[loader.EventKind]control.EventKind{
		loader.Listening: control.Listening, loader.Closed: control.Closed, loader.Stranger: control.Stranger,
	}[e.Kind]
	return control.Event{Kind: kind, Cookie: e.Cookie, Cgroup: e.Cgroup, Address: e.Address}, nil
}

// nextEvent goes on with the events of what Restore made.
func (s *steering) nextEvent() (loader.Event, error) {
	for {
		s.mu.Lock()
		events := s.events
		s.mu.Unlock()
		e, err := events.Read()
		s.mu.Lock()
		replaced := s.events != events
		s.mu.Unlock()
		if err == nil || !replaced {
			return e, err
		}
	}
}

func (s *steering) Adopt(slot int, where sockets.Group, l control.Listener) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, err := s.group(where)
	if errors.Is(err, loader.ErrNotSupported) {
		return fmt.Errorf("%w: %w", control.ErrUnable, err)
	}
	if err != nil {
		return err
	}
	if err := s.add(g, slot, l); err != nil {
		return explainListener(err)
	}
	if err := s.app.Own(l.FD); err != nil {
		return err
	}
	// A new SO_REUSEPORT group, such as after all workers died, knows nothing of the program.
	if err := g.Steer(l.FD); err != nil {
		return err
	}
	if err := adoptEarly(g, where); err != nil {
		return err
	}
	return s.before.leave(s.app.Name())
}

// add replaces what the slot had: a worker that closed its listener and opened another.
func (s *steering) add(g *loader.Group, slot int, l control.Listener) error {
	listener := loader.Listener{FD: l.FD, PID: l.PID, Start: l.Start, Hold: holdOf(l.Hold)}
	err := s.before.add(g, slot, listener, l.Cookie)
	if errors.Is(err, loader.ErrSlotTaken) {
		return fmt.Errorf("the worker listens twice on this address, and only one of the two is steered: %w", err)
	}
	return err
}

func explainListener(err error) error {
	switch {
	case errors.Is(err, loader.ErrNotListening):
		return fmt.Errorf("%w: %w", control.ErrNotListening, err)
	case errors.Is(err, loader.ErrMPTCP):
		return fmt.Errorf("%w: turn multipath TCP off in the server (Go: GODEBUG=multipathtcp=0)", err)
	case errors.Is(err, loader.ErrNotShared):
		return fmt.Errorf("%w: it was bound on a port that --port does not name, or set the option off itself", err)
	}
	return err
}

func (s *steering) group(where sockets.Group) (*loader.Group, error) {
	if g := s.groups[where]; g != nil {
		return g, nil
	}
	netns, _, err := sockets.NetNSOf(0)
	if err != nil {
		return nil, err
	}
	spec := loader.GroupSpec{App: s.app.Name(), Address: where.Address, V6Only: where.V6Only, NetNS: netns, Policy: s.newPolicy()}
	for _, spec.Name = range groupNames(s.app.Name(), where) {
		g, err := s.host.CreateGroup(spec)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			s.groups[where] = g
		}
		return g, err
	}
	return nil, fmt.Errorf("group %s: %w: detach it, or take another --name", spec.Name, fs.ErrExist)
}

// groupNames are the names for an app's group, the shortest first: web-80, and
// where an app listens on a port more than once web-80-127-0-0-1.
func groupNames(app string, where sockets.Group) []string {
	port := fmt.Sprintf("%s-%d", app, where.Address.Port())
	host := strings.Map(func(r rune) rune {
		if r == '.' || r == ':' || r == '%' {
			return '-'
		}
		return r
	}, where.Address.Addr().String())
	names := []string{port, port + "-" + host}
	for i, name := range names {
		names[i] = name[:min(len(name), loader.MaxName)]
	}
	return names
}

// adoptEarly counts connections that a worker got before its slot: those of the first moments.
func adoptEarly(g *loader.Group, where sockets.Group) error {
	missing, err := uncounted(g, where)
	if err != nil || len(missing) == 0 {
		return err
	}
	// One that ended between the two lists seemed to be missing too, but not twice.
	still, err := uncounted(g, where)
	if err != nil {
		return err
	}
	maps.DeleteFunc(still, func(cookie uint64, _ sockets.Connection) bool {
		_, twice := missing[cookie]
		return !twice
	})
	if len(still) == 0 {
		return nil
	}
	slotOf, err := processes(g)
	if err != nil {
		return err
	}
	owner, err := owners(still, slotOf) // takes long
	if err != nil {
		return err
	}
	_, err = g.Adopt(owner)
	return err
}

// uncounted are the connections that no slot counts, by their cookie, and perhaps
// some that have just ended.
func uncounted(g *loader.Group, where sockets.Group) (map[uint64]sockets.Connection, error) {
	here, err := sockets.ConnectionsIn(sockets.Address{Host: where.Address.Addr(), Port: where.Address.Port()}, countedStates...)
	if err != nil || len(here) == 0 {
		return nil, err
	}
	counted, err := g.Counted() // afterwards: who comes in between is no trouble
	if err != nil {
		return nil, err
	}
	missing := make(map[uint64]sockets.Connection)
	for _, c := range here {
		if !counted[c.Cookie] {
			missing[c.Cookie] = c
		}
	}
	return missing, nil
}

// countedStates are those of connections that have a place in the counts:
// handshakes that are under way get theirs when they end.
var countedStates = []sockets.State{
	sockets.Established, sockets.FinWait1, sockets.FinWait2, sockets.CloseWait, sockets.LastAck, sockets.Closing,
}

// processes says which process has which slot.
func processes(g *loader.Group) (slotOf map[int]int, err error) {
	s, err := g.Snapshot()
	if err != nil {
		return nil, err
	}
	slotOf = make(map[int]int)
	for _, slot := range s.Slots {
		slotOf[slot.PID] = slot.Slot
	}
	return slotOf, nil
}

// owners tells which slot has which accepted connection, by the process that holds it.
func owners(connections map[uint64]sockets.Connection, slotOf map[int]int) (map[uint64]int, error) {
	var inodes []uint32
	for _, c := range connections {
		if c.Inode != 0 {
			inodes = append(inodes, c.Inode)
		}
	}
	holders, err := sockets.Holders(inodes)
	var hidden *sockets.HiddenError
	if err != nil && !errors.As(err, &hidden) {
		return nil, err
	}
	owner := make(map[uint64]int)
	for _, c := range connections {
		for _, holder := range holders[c.Inode] {
			if slot, ok := slotOf[holder.PID]; ok && c.Inode != 0 {
				owner[c.Cookie] = slot
			}
		}
	}
	return owner, nil
}

func (s *steering) Unsteer(where sockets.Group, fd int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.groups[where]; g != nil {
		return g.Unsteer(fd)
	}
	return nil
}

func (s *steering) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.events.Close()
	for _, g := range s.groups {
		g.Close()
	}
	s.app.Close()
	return err
}

func (s *steering) Detach() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.events.Close()
	for _, g := range s.groups {
		all = errors.Join(all, g.Destroy())
		g.Close()
	}
	all = errors.Join(all, s.app.Destroy())
	s.app.Close()
	return all
}
