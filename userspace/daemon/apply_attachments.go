package daemon

import (
	"fmt"
	"maps"
	"slices"

	"github.com/sockdist/sockdist/userspace/config"
)

func (d *Daemon) compareAttachments(file *config.File) (steps []step) {
	wanted := file.AttachByName()
	d.mu.Lock()
	present := maps.Clone(d.attach)
	d.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(present)) {
		a := present[name]
		to, stays := wanted[name]
		remove := func(func(string)) error { return d.removeAttached(name, a) }
		add := func(func(string)) error { return d.addAttached(to) }
		err, given := a.state()
		switch {
		case !stays:
			steps = append(steps, step{endings, "attach " + name + ": detached", remove})
		case !staysAttached(a.settings, to):
			steps = append(steps, step{endings, "attach " + name + ": its address changed, detached", remove},
				step{beginnings, fmt.Sprintf("attach %s: attached at %s", name, to.Address), add})
		case !sameAttachment(a.settings, to):
			steps = append(steps, step{changes, "attach " + name + ": changed", func(func(string)) error {
				a.leave()
				return d.addAttached(to)
			}})
		case err != nil || given:
			steps = append(steps, step{beginnings, "attach " + name + ": isn't attached, tried again", func(func(string)) error { return a.again() }})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if present[name] == nil {
			steps = append(steps, step{beginnings, fmt.Sprintf("attach %s: new, at %s", name, wanted[name].Address), func(func(string)) error { return d.addAttached(wanted[name]) }})
		}
	}
	return steps
}

func (d *Daemon) addAttached(settings config.Attachment) error {
	a := d.newAttached(settings)
	d.mu.Lock()
	d.attach[settings.Name] = a
	d.mu.Unlock()
	return a.await()
}

func (d *Daemon) removeAttached(name string, a *attached) error {
	d.mu.Lock()
	delete(d.attach, name)
	d.mu.Unlock()
	return a.remove()
}
