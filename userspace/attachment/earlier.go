package attachment

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// An earlier is a group of another version of sockdist: its programs go on, and
// nothing of what it counts can be read. Attach brings it over.
type earlier struct {
	from  *loader.Earlier
	name  string
	slots map[uint64]int // by the cookies of its sockets
}

func earlierGroups(host *loader.Host) (all []earlier, err error) {
	others, err := host.Earlier()
	if err != nil {
		return nil, err
	}
	for _, from := range others {
		for _, name := range from.Groups {
			slots, err := from.Sockets(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue // it went meanwhile
			}
			if err != nil {
				return nil, err
			}
			all = append(all, earlier{from: from, name: name, slots: slots})
		}
	}
	return all, nil
}

// app is the one that the group is named after, as sockdist run names groups; ""
// if it is of none.
func (e earlier) app() (app string) {
	for _, a := range e.from.Apps {
		if strings.HasPrefix(e.name, a+"-") && len(a) > len(app) {
			app = a
		}
	}
	return app
}

// chooses tells whether the program is the group's.
func (e earlier) chooses(program uint32) (bool, error) {
	chooses, err := e.from.Chooses(e.name, program)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return chooses, err
}

// has tells whether the group has a socket, or did: its program chooses there.
func (e earlier) has(cookie uint64, steerers map[uint64]uint32) (bool, error) {
	if _, has := e.slots[cookie]; has {
		return true, nil
	}
	return e.chooses(steerers[cookie])
}

// earlierOf is the group of another version that these sockets are of, nil if there is none.
func (a *attempt) earlierOf(k kernelGroup) (*earlier, error) {
	for i, e := range a.earlier {
		for _, l := range slices.Concat(k.listeners, k.leftOut) {
			if has, err := e.has(l.Cookie, a.steerers); has || err != nil {
				return &a.earlier[i], err
			}
		}
	}
	return nil, nil
}

func (e *earlier) refuseApp() error {
	if e == nil || e.app() == "" {
		return nil
	}
	return fmt.Errorf("group %s: %w, %s, of another version of sockdist (%s): sockdist run with its name and command brings it over",
		e.name, ErrApp, e.app(), e.from.Layout)
}

// nameOf keeps the name that a group had under another version.
func (a *attempt) nameOf(k kernelGroup, found []kernelGroup, was *earlier) (string, error) {
	if was != nil && a.options.Name == "" && a.called(was.name) == nil && !slices.Contains(a.apps, was.name) {
		return was.name, nil
	}
	return a.nameFor(k, found)
}

// keepSlots gives sockets the slots that they had, unless these are taken; the
// others get what is left.
func (e *earlier) keepSlots(newcomers []seat, taken []loader.Slot) {
	if e == nil {
		return
	}
	for i, s := range newcomers {
		slot, had := e.slots[s.listener.Cookie]
		if had && s.slot < 0 && !slices.ContainsFunc(taken, func(t loader.Slot) bool { return t.Slot == slot }) {
			newcomers[i].slot = slot
		}
	}
	slices.SortStableFunc(newcomers, func(a, b seat) int { return b2i(a.slot < 0) - b2i(b.slot < 0) })
}

// add gives a socket its slot, away from the other version's group.
func (e *earlier) add(g *loader.Group, slot int, cookie uint64, l loader.Listener) (int, error) {
	if e != nil {
		if _, had := e.slots[cookie]; had {
			got, err := e.from.Move(e.name, g, slot, l)
			if !errors.Is(err, fs.ErrNotExist) {
				return got, err
			}
		}
	}
	return g.Add(slot, l)
}

// leave removes the group. No program of it is attached any more.
func (e *earlier) leave() error {
	err := e.from.RemoveGroup(e.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// giveBack gives the group's sockets back to the kernel's hash, and removes it.
// It works in the group's namespace.
func (e earlier) giveBack() error {
	if err := unsteer(everywhere, e.chooses, loader.Unsteer); err != nil {
		return err
	}
	return e.leave()
}

// detach is Detach for such a group. netns is as there.
func (e earlier) detach(netns string) error {
	if err := e.refuseApp(); err != nil {
		return err
	}
	ns, err := e.namespace(netns)
	if err != nil {
		return err
	}
	return ns.do(e.giveBack)
}

// namespace is where the group's sockets are: nothing that can be read says it.
func (e earlier) namespace(name string) (namespace, error) {
	own, err := namespaceOf("")
	if err != nil {
		return own, err
	}
	if name != "" {
		return namespaceOf(name)
	}
	for _, name := range append([]string{""}, otherNamespaces(own.inode)...) {
		ns, err := namespaceOf(name)
		if err != nil {
			continue // it has ended
		}
		here := false
		err = ns.do(func() (err error) {
			listening, err := e.listeners()
			here = len(listening) > 0
			return err
		})
		if err != nil || here {
			return ns, err
		}
	}
	if len(e.slots) > 0 {
		return own, fmt.Errorf("its sockets are in a network namespace that can't be found: name it by --netns")
	}
	return own, nil
}

// listeners are the group's, in the calling thread's namespace.
func (e earlier) listeners() ([]sockets.Listener, error) {
	all, err := sockets.Listeners(sockets.Address{})
	if err != nil {
		return nil, err
	}
	steerers, err := loader.Steerers()
	if err != nil {
		return nil, err
	}
	var here []sockets.Listener
	for _, l := range all {
		has, err := e.has(l.Cookie, steerers)
		if err != nil {
			return nil, err
		}
		if has {
			here = append(here, l)
		}
	}
	return here, nil
}

func earlierCalled(host *loader.Host, name string) (found []earlier, err error) {
	all, err := earlierGroups(host)
	for _, e := range all {
		if e.name == name {
			found = append(found, e)
		}
	}
	return found, err
}

// An EarlierGroup is a group of another version of sockdist, which goes on by
// the programs of that one.
type EarlierGroup struct {
	Name   string
	Layout string // of its pins, such as "v1"
	App    string // by its name; "" if attach made it
}

// Earlier lists the groups of other versions of sockdist: all, or those with
// sockets at an address in a network namespace, "" for the caller's own.
func Earlier(host *loader.Host, at *sockets.Address, netns string) (groups []EarlierGroup, err error) {
	all, err := earlierGroups(host)
	if err != nil {
		return nil, fmt.Errorf("look for groups of other versions: %w", err)
	}
	for _, e := range all {
		here := at == nil
		if !here {
			err = sockets.In(netns, func() (err error) {
				here, err = e.isAt(*at)
				return err
			})
		}
		if err != nil {
			return nil, fmt.Errorf("look for groups of other versions: %w", err)
		}
		if here {
			groups = append(groups, EarlierGroup{Name: e.name, Layout: e.from.Layout, App: e.app()})
		}
	}
	return groups, nil
}

func (e earlier) isAt(where sockets.Address) (bool, error) {
	listening, err := e.listeners()
	return slices.ContainsFunc(listening, where.Matches), err
}
