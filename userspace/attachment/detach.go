package attachment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// Detach gives a group's sockets back to the kernel's hash, and removes the
// group with all that it left in the kernel. No connection notices. It works
// also when nobody listens any more.
//
// A group of an app is refused with ErrApp for as long as the app's supervisor
// lives; with the last group of an app without one, the app is removed, too.
// netns is for a namespace that can't be found by itself, mostly because only
// other namespaces' processes have sockets in it; "" mostly.
func Detach(ctx context.Context, host *loader.Host, name, netns string) error {
	return explain(detach(ctx, host, name, netns), "detach %s", name)
}

func detach(ctx context.Context, host *loader.Host, name, netns string) (err error) {
	names, err := host.Groups()
	if err != nil {
		return err
	}
	before, err := earlierCalled(host, name)
	if err != nil {
		return err
	}
	if !slices.Contains(names, name) && len(before) == 0 {
		return fmt.Errorf("there is no such group: %w; sockdist status lists them", fs.ErrNotExist)
	}
	release, err := host.Claim(ctx)
	if err != nil {
		return err
	}
	defer release()
	for _, e := range before {
		if err := e.detach(netns); err != nil {
			return errors.Join(err, host.Remove()) // the claim made a folder
		}
	}
	g, err := host.Group(name)
	if errors.Is(err, fs.ErrNotExist) {
		if len(before) > 0 {
			err = nil
		}
		return errors.Join(err, host.Remove())
	}
	if err != nil {
		return err
	}
	defer g.Close()
	app := g.Spec().App
	if err := refuseRunning(host, app); err != nil {
		return err
	}
	if err := inNamespaceOf(g, netns, func() error { return dissolve(g) }); err != nil {
		return err
	}
	return removeIfLast(host, app)
}

// refuseRunning is for an app with somebody who looks after it.
func refuseRunning(host *loader.Host, name string) error {
	if name == "" {
		return nil
	}
	app, err := host.App(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer app.Close()
	supervisor, err := app.Supervisor()
	if err != nil {
		return err
	}
	if supervisor == 0 {
		return fmt.Errorf("%w, %s; sockdist stop %[2]s ends that", ErrApp, name)
	}
	if _, err := sockets.StartTime(supervisor); err == nil {
		return fmt.Errorf("%w, %s, that process %d looks after; sockdist stop %[2]s, or kill -TERM %[3]d, ends that", ErrApp, name, supervisor)
	}
	return nil
}

// removeIfLast removes an app, if there is one, that has no group left.
func removeIfLast(host *loader.Host, name string) error {
	if name == "" {
		return nil
	}
	all, err := knownGroups(host, nil)
	if err != nil || slices.ContainsFunc(all, func(g known) bool { return g.spec.App == name }) {
		return err
	}
	app, err := host.App(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer app.Close()
	return app.Destroy()
}

// inNamespaceOf runs f where the group's sockets are. If no process is in that
// namespace any more, there are none, and anywhere will do.
func inNamespaceOf(g *loader.Group, netns string, f func() error) error {
	ns := namespace{inode: g.Spec().NetNS, name: netns}
	own, _, err := sockets.NetNSOf(0)
	if err != nil {
		return err
	}
	if ns.inode == own || ns.inode == 0 {
		return f()
	}
	if ns.name == "" {
		path, err := sockets.FindNetNS(ns.inode)
		if errors.Is(err, fs.ErrNotExist) {
			return orWithoutNamespace(g, f)
		}
		if err != nil {
			return err
		}
		ns.name = path
	}
	return ns.do(f)
}

func orWithoutNamespace(g *loader.Group, f func() error) error {
	s, err := g.Snapshot()
	if err != nil {
		return err
	}
	for _, slot := range s.Slots {
		if slot.State != loader.Gone && sockets.Alive(slot.PID, slot.Start) {
			return fmt.Errorf("process %d serves it in a network namespace that can't be found: name it by --netns", slot.PID)
		}
	}
	return f()
}

// dissolve makes everything as it was before the group. It works in the
// group's namespace. Killed at any point, it leaves a group that is not steered.
func dissolve(g *loader.Group) error {
	spec := g.Spec()
	// Others' programs are none of our business, and to look takes more rights.
	here := func(l sockets.Listener) bool { return l.Address == spec.Address && l.V6Only == spec.V6Only }
	if err := unsteer(here, g.Chooses, g.Unsteer); err != nil {
		return err
	}
	if err := unmark(g); err != nil {
		return err
	}
	return g.Destroy()
}

// unsteerTries bounds how often sockets come up that the program still steers:
// once mostly, more often when their server ends under our hands.
const unsteerTries = 16

func everywhere(sockets.Listener) bool { return true }

// unsteer takes a group's programs off the sockets of some place that have one.
func unsteer(place func(sockets.Listener) bool, chooses func(program uint32) (bool, error), off func(fd int) error) error {
	for range unsteerTries {
		steerers, err := loader.Steerers()
		if err != nil {
			return err
		}
		own := make(map[uint32]bool)
		var hidden error
		ours := func(l sockets.Listener) bool {
			id, steered := steerers[l.Cookie]
			if !steered || !place(l) {
				return false
			}
			if _, known := own[id]; !known {
				var err error
				own[id], err = chooses(id)
				hidden = errors.Join(hidden, err)
			}
			return own[id]
		}
		steered, err := listenersWhere(ours)
		if err = errors.Join(err, hidden); err != nil || len(steered) == 0 {
			return err
		}
		if err := unsteerOne(steered, off); err != nil && !gone(err) {
			return err
		}
	}
	return errors.New("its program is still attached: the processes that hold the sockets can't be seen from here, or change all the time")
}

// unsteerOne does it for one socket, and with it for all of its SO_REUSEPORT group.
func unsteerOne(steered []listener, off func(fd int) error) (err error) {
	for _, l := range steered {
		if err = l.with(off); !gone(err) {
			return err
		}
	}
	return err
}

// unmark takes the group's mark off its listeners.
func unmark(g *loader.Group) error {
	s, err := g.Snapshot()
	if err != nil {
		return err
	}
	marked, err := listenersWhere(func(l sockets.Listener) bool {
		return slices.ContainsFunc(s.Slots, func(slot loader.Slot) bool { return slot.Cookie == l.Cookie })
	})
	if err != nil {
		return err
	}
	for _, l := range marked {
		if err := l.with(g.Forget); err != nil && !gone(err) {
			return err
		}
	}
	return nil
}

func listenersWhere(wanted func(sockets.Listener) bool) ([]listener, error) {
	all, err := sockets.Listeners(sockets.Address{})
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(l sockets.Listener) bool { return !wanted(l) })
	if len(all) == 0 {
		return nil, nil
	}
	return withHolders(all)
}
