package daemon

import (
	"fmt"
	"maps"
	"slices"

	"github.com/sockdist/sockdist/userspace/config"
)

func (d *Daemon) compareApps(file *config.File) (steps []step) {
	wanted := file.AppsByName()
	d.mu.Lock()
	present := maps.Clone(d.apps)
	d.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(present)) {
		a := present[name]
		to, stays := wanted[name]
		if !stays {
			steps = append(steps, step{endings, "app " + name + ": ends", func(func(string)) error { return d.removeApp(a) }})
			continue
		}
		steps = append(steps, d.compareApp(a, to)...)
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if present[name] == nil {
			steps = append(steps, step{beginnings, "app " + name + ": new, starts", func(func(string)) error { return d.addApp(wanted[name]) }})
		}
	}
	return steps
}

func (d *Daemon) compareApp(a *app, to config.App) []step {
	difference := a.difference(to)
	_, err := a.present()
	switch {
	case difference.has(restart):
		what := fmt.Sprintf("app %s: %s changed: it ends", a.name, difference.words())
		again := fmt.Sprintf("app %s: starts anew", a.name)
		return []step{
			{endings, what, func(func(string)) error { return d.removeApp(a) }},
			{beginnings, again, func(func(string)) error { return d.addApp(to) }},
		}
	case err != nil:
		return []step{{beginnings, fmt.Sprintf("app %s: doesn't run, starts", a.name), func(func(string)) error { return a.restart(to) }}}
	case len(difference.keys) == 0:
		return nil
	}
	what := fmt.Sprintf("app %s: %s changed: %s", a.name, difference.words(), difference.what())
	return []step{{changes, what, func(say func(string)) error { return a.change(to, say) }}}
}

// removeApp ends an app.
func (d *Daemon) removeApp(a *app) error {
	a.finish()
	d.mu.Lock()
	delete(d.apps, a.name)
	d.mu.Unlock()
	d.forget(func(m *memory) { delete(m.Apps, a.name) })
	return nil
}

// addApp starts an app. One that can't start is tried again, later.
func (d *Daemon) addApp(settings config.App) error {
	a := d.newApp(settings, nil)
	d.mu.Lock()
	d.apps[a.name] = a
	d.mu.Unlock()
	return a.awaitService(0)
}

// restart starts an app that doesn't run.
func (a *app) restart(settings config.App) error {
	a.changing.Lock()
	defer a.changing.Unlock()
	a.mu.Lock()
	a.wanted, a.halted = settings, false
	from, number := a.applied, 0
	if a.latest != nil {
		number = a.latest.number
	}
	a.mu.Unlock()
	a.poke()
	err := a.awaitService(number)
	if err != nil || from == nil {
		return err
	}
	if d := compareApps(*from, settings); len(d.keys) > 0 { // its workers had lived on
		return a.bring(d, settings, func(text string) { a.log.Info(text) })
	}
	return nil
}
