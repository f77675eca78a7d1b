package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/config"
	"github.com/sockdist/sockdist/userspace/control"
)

// begin waits until the app has its workers, and if these were started by an
// earlier daemon with other settings, gives them those of now.
func (a *app) begin(from *config.App, to config.App) {
	var err error
	for number := 0; ; {
		if number, err = a.await(number); err == nil {
			break
		}
		if errors.Is(err, control.ErrEnding) {
			return
		}
	}
	if from == nil {
		return
	}
	a.changing.Lock()
	defer a.changing.Unlock()
	if len(a.fromWanted(to).keys) == 0 { // otherwise an apply was faster
		a.catchUp(to)
	}
}

// catchUp gives workers that an earlier daemon started the settings of now.
func (a *app) catchUp(to config.App) {
	if d := compareApps(a.known(), to); len(d.keys) > 0 {
		a.log.Info(fmt.Sprintf("%s changed while no daemon ran: %s", d.words(), d.what()))
		err := a.bring(d, to, func(text string) { a.log.Info(text) })
		if err != nil && !errors.Is(err, control.ErrHandedOver) { // an apply goes on with it
			a.log.Error(fmt.Sprintf("it isn't as the configuration says: %v", firstLine(err)))
		}
	}
}

// difference is what an apply has to change: of the settings that hold, or, where
// these are right, of those that are still to hold.
func (a *app) difference(to config.App) difference {
	if d := compareApps(a.known(), to); len(d.keys) > 0 {
		return d
	}
	return a.fromWanted(to)
}

func (a *app) fromWanted(to config.App) difference {
	a.mu.Lock()
	defer a.mu.Unlock()
	return compareApps(a.wanted, to)
}

// change gives the app other settings. If that fails the old ones hold, as far
// as they can.
func (a *app) change(to config.App, say func(string)) error {
	if !a.changing.TryLock() {
		say("waiting for the end of another change")
		a.changing.Lock()
	}
	defer a.changing.Unlock()
	d := a.difference(to)
	if d.has(replace | reload) {
		if _, _, err := a.supervisor(to); err != nil {
			return err // the present one has not gone
		}
		if err := a.replace(to); err != nil {
			return errors.Join(err, a.goBack())
		}
	}
	err := a.bring(d, to, say)
	if err != nil && d.has(replace|reload) {
		return errors.Join(err, a.goBack())
	}
	return err
}

// known are the settings that hold.
func (a *app) known() config.App {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.applied != nil {
		return *a.applied
	}
	return a.wanted
}

// hold notes settings that hold now.
func (a *app) hold(alter func(*config.App)) {
	a.mu.Lock()
	if a.applied == nil {
		a.applied = new(config.App)
		*a.applied = a.wanted
	}
	changed := *a.applied
	alter(&changed)
	a.applied = &changed
	a.mu.Unlock()
	a.daemon.forget(func(m *memory) { m.Apps[a.name] = changed })
}

// replace has another supervisor, by other settings, take the workers over.
func (a *app) replace(settings config.App) error {
	a.mu.Lock()
	a.wanted = settings
	t := a.latest
	a.mu.Unlock()
	number := 0
	if t != nil {
		number = t.number
		if t.supervisor != nil {
			t.supervisor.HandOver()
		}
	}
	a.poke()
	_, err := a.await(number)
	return err
}

// goBack has the settings hold again that did before.
func (a *app) goBack() error {
	if err := a.replace(a.known()); err != nil && !errors.Is(err, control.ErrEnding) {
		return fmt.Errorf("its earlier settings don't hold again either: %w", firstLine(err))
	}
	return nil
}

// bring gives the workers what the supervisor has.
func (a *app) bring(d difference, to config.App, say func(string)) error {
	if d.has(policy) {
		if err := a.setPolicy(to); err != nil {
			return err
		}
		a.hold(func(c *config.App) { c.Policy = to.Policy })
	}
	s, err := a.present()
	if err != nil {
		return err
	}
	if d.has(scale) {
		meant, _ := to.Read(a.name)
		if to.ScaleAt == "" {
			err = s.Configure(context.Background(), meant.Workers, say)
		}
		if err != nil {
			return err
		}
		a.hold(func(c *config.App) { c.Workers = to.Workers })
	}
	if d.has(reload) {
		if err := s.Reload(context.Background(), false, say); err != nil {
			return err
		}
	}
	a.mu.Lock()
	a.wanted = to
	a.mu.Unlock()
	a.hold(func(c *config.App) { *c = to })
	return nil
}

// setPolicy is for the groups that there are, and for those to come.
func (a *app) setPolicy(to config.App) error {
	policy, err := loader.ParsePolicy(to.Policy)
	if err != nil {
		return err
	}
	a.mu.Lock()
	if a.kernel != nil {
		a.kernel.SetPolicy(policy)
	}
	a.mu.Unlock()
	return eachGroup(a.daemon.options.Host, func(g *loader.Group) error {
		if g.Spec().App != a.name {
			return nil
		}
		return g.SetPolicy(policy)
	})
}
