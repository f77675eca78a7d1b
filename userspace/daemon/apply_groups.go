package daemon

import (
	"fmt"
	"maps"
	"slices"

	"github.com/sockdist/sockdist/userspace/config"
)

func (d *Daemon) compareGroups(file *config.File) (steps []step) {
	wanted := file.GroupsByName()
	d.mu.Lock()
	present := maps.Clone(d.groups)
	d.mu.Unlock()
	add := func(to config.Group) func(func(string)) error {
		return func(func(string)) error { return d.addGroup(to) }
	}
	for _, name := range slices.Sorted(maps.Keys(present)) {
		g := present[name]
		to, stays := wanted[name]
		remove := func(func(string)) error { return d.removeGroup(name, g) }
		_, err := g.present()
		switch {
		case !stays:
			steps = append(steps, step{endings, "group " + name + ": removed, its workers serve on by the kernel's hash", remove})
		case !staysOpen(g.known(), to):
			steps = append(steps, step{endings, "group " + name + ": its address changed, removed", remove},
				step{beginnings, fmt.Sprintf("group %s: made anew at %s", name, to.Listen), add(to)})
		case err != nil:
			steps = append(steps, step{beginnings, "group " + name + ": isn't open, tried again", func(func(string)) error { return g.change(to) }})
		case !sameGroup(g.known(), to):
			steps = append(steps, step{changes, "group " + name + ": changed", func(func(string)) error { return g.change(to) }})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if present[name] == nil {
			steps = append(steps, step{beginnings, fmt.Sprintf("group %s: new, at %s", name, wanted[name].Listen), add(wanted[name])})
		}
	}
	return steps
}

func (d *Daemon) addGroup(settings config.Group) error {
	g := d.newGroup(settings)
	d.mu.Lock()
	d.groups[settings.Name] = g
	d.mu.Unlock()
	return g.await()
}

func (d *Daemon) removeGroup(name string, g *group) error {
	d.mu.Lock()
	delete(d.groups, name)
	d.mu.Unlock()
	return g.remove()
}
