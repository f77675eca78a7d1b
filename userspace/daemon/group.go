package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sockdist/sockdist/userspace/config"
	"github.com/sockdist/sockdist/userspace/membership"
)

// A group is one for library workers. While it can't be opened, as when somebody
// else listens at its address, that is tried again.
type group struct {
	daemon  *Daemon
	log     *slog.Logger
	report  *report
	settled *event

	ending chan struct{}
	gone   chan struct{}
	wake   chan struct{}

	mu       sync.Mutex
	settings config.Group
	open     *membership.Group // nil: not yet
	err      error             // why
	tries    int
	turned   chan struct{} // closed, and replaced, after each try
}

func (d *Daemon) newGroup(settings config.Group) *group {
	g := &group{
		daemon: d, settings: settings, log: d.log, report: d.reports.add("group " + settings.Name),
		ending: make(chan struct{}), gone: make(chan struct{}), wake: make(chan struct{}, 1), turned: make(chan struct{}), settled: newEvent(),
	}
	go g.run()
	return g
}

// run opens the group, and ends when that is done.
func (g *group) run() {
	defer close(g.gone)
	defer g.settled.set()
	for pause := firstPause; !isClosed(g.ending); pause = min(2*pause, lastPause) {
		err := g.try()
		if err == nil {
			return
		}
		g.log.Error(fmt.Sprintf("%v; trying again in %v", err, pause))
		g.daemon.reports.set(g.report, "failed: "+err.Error())
		g.settled.set()
		select {
		case <-time.After(pause):
		case <-g.wake:
		case <-g.ending:
		}
	}
}

func (g *group) try() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	settings := g.settings
	g.open, g.err = openGroup(g.daemon.options.Host, g.daemon.membership(settings))
	g.tries++
	close(g.turned)
	g.turned = make(chan struct{})
	if g.err != nil {
		return g.err
	}
	g.daemon.reports.set(g.report, "open")
	g.daemon.forget(func(m *memory) { m.Groups[settings.Name] = settings })
	return nil
}

// membership is what a group is to be, in the words of that package.
func (d *Daemon) membership(c config.Group) membership.Config {
	m := membership.Config{
		Name: c.Name, Listen: c.Listen, V6Only: c.V6Only, Policy: c.Policy, Slots: c.Slots,
		UIDs: c.UIDs, GIDs: c.GIDs, HangAfter: c.HangAfter, Logger: d.log,
	}
	if files := d.options.called(c.Activation); len(files) > 0 {
		m.Standby = files[0]
	}
	return m
}

// present returns the open group, or says why it isn't.
func (g *group) present() (*membership.Group, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open == nil && g.err == nil {
		return nil, errors.New("nobody has tried yet")
	}
	return g.open, g.err
}

// await returns when another try was made, or the group is open.
func (g *group) await() error {
	g.mu.Lock()
	turned := g.turned
	if g.open != nil {
		g.mu.Unlock()
		return nil
	}
	g.mu.Unlock()
	select {
	case <-turned:
	case <-g.gone:
	}
	_, err := g.present()
	return err
}

// staysOpen tells whether a group can be changed without being made anew.
func staysOpen(from, to config.Group) bool {
	return from.Listen == to.Listen && from.V6Only == to.V6Only && from.Activation == to.Activation
}

// sameGroup tells whether nothing differs.
func sameGroup(a, b config.Group) bool {
	return staysOpen(a, b) && a.Policy == b.Policy && a.Slots == b.Slots && a.HangAfter == b.HangAfter &&
		slices.Equal(a.UIDs, b.UIDs) && slices.Equal(a.GIDs, b.GIDs)
}

// change gives the group other settings, at the same address.
func (g *group) change(to config.Group) error {
	g.mu.Lock()
	open := g.open
	if open == nil {
		g.settings = to
		g.mu.Unlock()
		g.retry()
		return g.await()
	}
	defer g.mu.Unlock()
	if err := open.Change(g.daemon.membership(to)); err != nil {
		return err
	}
	g.settings = to
	g.daemon.forget(func(m *memory) { m.Groups[to.Name] = to })
	return nil
}

// retry has it try again at once.
func (g *group) retry() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// known are the settings that hold.
func (g *group) known() config.Group {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.settings
}

// end ends the tries, and returns what is open.
func (g *group) end() *membership.Group {
	close(g.ending)
	<-g.gone
	g.daemon.reports.remove(g.report)
	open, _ := g.present()
	return open
}

// leave lets the group go on without us.
func (g *group) leave() {
	if open := g.end(); open != nil {
		if err := open.Close(); err != nil {
			g.log.Error(err.Error())
		}
	}
}

// remove ends it. Its workers serve on, by the kernel's hash.
func (g *group) remove() error {
	name := g.known().Name
	if open := g.end(); open != nil {
		if err := open.Remove(); err != nil {
			return err
		}
	}
	g.daemon.forget(func(m *memory) { delete(m.Groups, name) })
	return nil
}

// removeLeftover removes a group that an earlier daemon left.
func (d *Daemon) removeLeftover(old config.Group) error {
	names, err := d.options.Host.Groups()
	if err != nil {
		return err
	}
	if slices.Contains(names, old.Name) {
		open, err := openGroup(d.options.Host, d.membership(old))
		if err != nil {
			return err
		}
		if err := open.Remove(); err != nil {
			return err
		}
	}
	d.forget(func(m *memory) { delete(m.Groups, old.Name) })
	return nil
}
