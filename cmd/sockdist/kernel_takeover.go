package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// takeOver is for an app whose workers run: it uses the pins of its earlier
// supervisor on. Where they are of another layout, or gone, as when bpffs was
// unmounted, it makes new ones, and the workers' sockets move there one by one.
// Who was killed at that left both: the pins, and sockets that are elsewhere.
func (k *kernel) takeOver(app control.App) (control.Steering, error) {
	before, err := k.predecessor(app.Name)
	if err != nil {
		return nil, err
	}
	s, err := k.resume(app)
	if errors.Is(err, fs.ErrNotExist) {
		s, err = k.begin(app)
	}
	if err != nil {
		return nil, err
	}
	s.before = before
	return s, nil
}

// resume opens the kernel side that an earlier supervisor of the app left.
func (k *kernel) resume(app control.App) (*steering, error) {
	if err := k.clearRuins(app.Name); err != nil {
		return nil, err
	}
	pinned, err := k.host.App(app.Name)
	if err != nil {
		return nil, err
	}
	// Before groups are opened, so that sockets are steered by the new programs.
	if _, err := k.host.Refresh(); err != nil {
		k.log.Warn(fmt.Sprintf("the app goes on with the programs of the sockdist before: %v", err))
	}
	events, err := openEvents(pinned)
	if err != nil {
		pinned.Close()
		return nil, err
	}
	s := &steering{kernel: k, cgroup: app.Cgroup, app: pinned, events: events, groups: make(map[sockets.Group]*loader.Group)}
	groups, err := allGroups(k.host)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	for _, g := range groups {
		spec := g.Spec()
		if spec.App != app.Name {
			g.Close()
			continue
		}
		s.groups[sockets.Group{Address: spec.Address, V6Only: spec.V6Only}] = g
	}
	return s, nil
}

// Restore makes the kernel side anew when its pins are gone.
func (s *steering) Restore() (restored bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isLost() {
		return false, nil
	}
	spec, err := s.app.Spec()
	if err != nil {
		return false, err
	}
	anew, err := s.begin(control.App{Name: spec.Name, Cgroup: s.cgroup, Ports: spec.Ports})
	if err != nil {
		return false, err
	}
	events, app, groups := s.events, s.app, s.groups
	s.events, s.app, s.groups, s.before = anew.events, anew.app, anew.groups, new(predecessor)
	for _, g := range groups {
		g.Close()
	}
	app.Close() // not before there are other hooks
	return true, events.Close()
}

func (s *steering) isLost() bool {
	if s.app.Lost() {
		return true
	}
	for _, g := range s.groups {
		if g.Lost() {
			return true
		}
	}
	return false
}

// A predecessor is what steers the sockets of an app that was taken over,
// other than by our pins: groups of another layout, or programs that nobody
// has a pin of any more. The nil predecessor steers nothing.
type predecessor struct {
	earlier *loader.Earlier   // nil: the pins are gone
	group   map[uint64]string // of earlier, by the cookie of the socket
}

func (k *kernel) predecessor(app string) (*predecessor, error) {
	others, err := k.host.Earlier()
	if err != nil {
		return nil, err
	}
	p := new(predecessor)
	for _, other := range others {
		for _, name := range other.Apps {
			if name == app {
				p.earlier = other
			}
		}
	}
	if p.earlier == nil {
		return p, nil
	}
	p.group = make(map[uint64]string)
	for _, name := range p.earlier.Groups {
		slots, err := p.earlier.Sockets(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for cookie := range slots {
			p.group[cookie] = name
		}
	}
	return p, nil
}

// forgotten is how long the kernel may take to let go of a program's sockets.
const forgotten = 2 * time.Second

// add gives a socket its slot, away from whatever it had before.
func (p *predecessor) add(g *loader.Group, slot int, l loader.Listener, cookie uint64) error {
	if p != nil && p.group[cookie] != "" {
		_, err := p.earlier.Move(p.group[cookie], g, slot, l)
		return err
	}
	_, err := g.Add(slot, l)
	if p == nil || !errors.Is(err, loader.ErrSteered) {
		return err
	}
	// The program is the last that knows of the array with the socket. Until the
	// new one is attached the kernel's hash decides, which loses nothing.
	if err := g.Unsteer(l.FD); err != nil {
		return err
	}
	for deadline := time.Now().Add(forgotten); ; time.Sleep(10 * time.Millisecond) {
		_, err := g.Add(slot, l)
		if !errors.Is(err, loader.ErrSteered) || time.Now().After(deadline) {
			return err
		}
	}
}

// ownerOf tells which app of the other layout a group is named after, see
// groupNames: web-2-80 is web-2's if there is one, and else web's.
func ownerOf(group string, apps []string) (owner string) {
	for _, app := range apps {
		start := app + "-"
		if strings.HasPrefix(group, start[:min(len(start), loader.MaxName)]) && len(app) > len(owner) {
			owner = app
		}
	}
	return owner
}

// leave removes the groups of the other layout that have no socket any more,
// and with the last of them the app.
func (p *predecessor) leave(app string) error {
	if p == nil || p.earlier == nil {
		return nil
	}
	left := false
	for _, name := range p.earlier.Groups {
		if ownerOf(name, p.earlier.Apps) != app {
			continue
		}
		slots, err := p.earlier.Sockets(name)
		if err == nil && len(slots) == 0 {
			err = p.earlier.RemoveGroup(name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("leave the pins of layout %s: %w", p.earlier.Layout, err)
		}
		left = left || len(slots) > 0
	}
	if left {
		return nil
	}
	err := p.earlier.RemoveApp(app)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("leave the pins of layout %s: %w", p.earlier.Layout, err)
	}
	p.earlier = nil
	return nil
}

// clearRuins removes groups of the app, and the app, of which somebody removed
// some pins, so that they can't be opened.
func (k *kernel) clearRuins(app string) error {
	groups, err1 := k.host.Groups()
	apps, err2 := k.host.Apps()
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	for _, name := range groups {
		if ownerOf(name, append(apps, app)) != app {
			continue
		}
		g, err := k.host.Group(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if err := k.host.Ruins().RemoveGroup(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		case err != nil:
			return err
		default:
			g.Close()
		}
	}
	if !slices.Contains(apps, app) {
		return nil
	}
	a, err := k.host.App(app)
	if errors.Is(err, fs.ErrNotExist) {
		if err = k.host.Ruins().RemoveApp(app); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if err == nil {
		a.Close()
	}
	return err
}
