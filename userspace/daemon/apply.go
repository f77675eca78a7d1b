package daemon

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/sockdist/sockdist/userspace/config"
	"github.com/sockdist/sockdist/userspace/control"
)

// An applyError is what an apply didn't achieve.
type applyError struct {
	text  string
	lines []string
}

func (e *applyError) Error() string {
	return strings.Join(append([]string{e.text}, e.lines...), "\n")
}

// lines are those of an error.
func lines(err error) []string { return strings.Split(err.Error(), "\n") }

// The phases of an apply, in their order: what ends may have the address of what
// begins.
const (
	endings = iota
	changes
	beginnings
	phases
)

// A step is one thing that an apply does.
type step struct {
	phase int
	// what is a line that says it.
	what string
	do   func(say func(string)) error
}

// Apply reads the file again and changes what differs, or only says what it
// would change. A file with problems changes nothing. When a step fails the
// others are done all the same, and the error says which units aren't as the
// file says; the next Apply tries again.
func (d *Daemon) Apply(check bool, say func(string)) error {
	d.applying.Lock()
	defer d.applying.Unlock()
	if d.isEnding() {
		return errors.New("the daemon is ending")
	}
	path := d.options.File.Path
	file, err := config.Load(path)
	var problems config.Problems
	if errors.As(err, &problems) {
		return &applyError{fmt.Sprintf("%s is not right, and nothing was changed:", path), lines(problems)}
	}
	if err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	if may := d.options.MayApply; may != nil {
		if err := may(file); err != nil {
			return fmt.Errorf("nothing was changed: %w", err)
		}
	}
	steps := d.compare(file)
	if len(steps) == 0 {
		d.setFile(file)
		say("nothing has changed")
		return nil
	}
	if check {
		for _, s := range steps {
			say(s.what)
		}
		return nil
	}
	d.options.Manager.Reloading()
	defer func() { d.options.Manager.Reloaded(d.reports.line()) }()
	d.setFile(file) // operators count at once
	return d.perform(steps, say)
}

func (d *Daemon) setFile(file *config.File) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.file = file
}

// perform does the steps, those of a phase at once.
func (d *Daemon) perform(steps []step, say func(string)) error {
	var mu sync.Mutex
	var failed []string
	tell := func(text string) {
		mu.Lock()
		defer mu.Unlock()
		say(text)
	}
	for phase := range phases {
		if d.isEnding() {
			return errors.New("the daemon is ending")
		}
		var group sync.WaitGroup
		for _, s := range steps {
			if s.phase != phase {
				continue
			}
			tell(s.what)
			d.log.Info("apply: " + s.what)
			group.Go(func() {
				unit, _, _ := strings.Cut(s.what, ":")
				err := s.do(func(text string) { tell(unit + ": " + text) })
				if err == nil {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, unit+": "+strings.Join(explain(err), "\n"))
			})
		}
		group.Wait()
	}
	if len(failed) == 0 {
		return nil
	}
	slices.Sort(failed)
	all := lines(errors.New(strings.Join(failed, "\n")))
	for _, line := range all {
		d.log.Error("apply: " + line)
	}
	return &applyError{"not all is as the configuration says; the next apply tries again:", all}
}

// explain is an error in lines, with what a worker printed that is to blame.
func explain(err error) []string {
	all := lines(err)
	var unready *control.NotReadyError
	if errors.As(err, &unready) {
		for _, line := range unready.Output {
			all = append(all, "  "+line)
		}
	}
	return all
}

// compare finds the steps from what is to what the file says.
func (d *Daemon) compare(file *config.File) (steps []step) {
	if d.desk.differs(file) {
		steps = append(steps, step{changes, "socket: opened anew as configured", func(func(string)) error { return d.desk.open(file) }})
	}
	steps = append(steps, d.compareGroups(file)...)
	steps = append(steps, d.compareAttachments(file)...)
	return append(steps, d.compareApps(file)...)
}

func (d *Daemon) compareApps(file *config.File) (steps []step) {
	wanted := make(map[string]config.App)
	for _, a := range file.Apps {
		wanted[a.Name] = a
	}
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
	difference := compareApps(a.known(), to)
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
	return []step{{changes, what, func(say func(string)) error { return a.change(difference, to, say) }}}
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

func (d *Daemon) compareGroups(file *config.File) (steps []step) {
	wanted := make(map[string]config.Group)
	for _, g := range file.Groups {
		wanted[g.Name] = g
	}
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

func (d *Daemon) compareAttachments(file *config.File) (steps []step) {
	wanted := make(map[string]config.Attachment)
	for _, a := range file.Attach {
		wanted[a.Name] = a
	}
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
