package daemon

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sockdist/sockdist/userspace/config"
)

// begin starts all units, and ends what an earlier daemon left that isn't
// configured any more.
func (d *Daemon) begin() {
	d.beginGroups()
	d.beginAttachments()
	d.beginApps()
}

func (d *Daemon) beginGroups() {
	wanted := d.file.GroupsByName()
	for _, name := range names(d.memory, d.memory.Groups) {
		old, _ := get(d.memory, d.memory.Groups, name)
		if now, ok := wanted[name]; ok && staysOpen(old, now) {
			continue
		}
		d.log.Info(fmt.Sprintf("group %s is not configured any more, at %s: it is removed", name, old.Listen))
		if err := d.removeLeftover(old); err != nil {
			d.log.Error(err.Error())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		g := d.newGroup(wanted[name])
		d.mu.Lock()
		d.groups[name] = g
		d.mu.Unlock()
	}
}

func (d *Daemon) beginAttachments() {
	wanted := d.file.AttachByName()
	for _, name := range names(d.memory, d.memory.Attach) {
		old, _ := get(d.memory, d.memory.Attach, name)
		if now, ok := wanted[name]; ok && staysAttached(old, now) {
			continue
		}
		d.log.Info(fmt.Sprintf("attachment %s of %s is not configured any more: it is detached", name, old.Address))
		if err := d.detach(old); err != nil {
			d.log.Error(err.Error())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		a := d.newAttached(wanted[name])
		d.mu.Lock()
		d.attach[name] = a
		d.mu.Unlock()
	}
}

// beginApps ends what has to end before anything starts: it may have the ports.
func (d *Daemon) beginApps() {
	wanted, before := d.file.AppsByName(), make(map[string]*config.App)
	var leftovers sync.WaitGroup
	for _, name := range names(d.memory, d.memory.Apps) {
		old, _ := get(d.memory, d.memory.Apps, name)
		now, ok := wanted[name]
		switch {
		case !hasWorkers(name):
			d.forget(func(m *memory) { delete(m.Apps, name) })
		case ok && !compareApps(old, now).has(restart):
			before[name] = &old
		default:
			leftovers.Go(func() { d.endOld(old) })
		}
	}
	leftovers.Wait()
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if d.isEnding() {
			return
		}
		a := d.newApp(wanted[name], before[name])
		d.mu.Lock()
		d.apps[name] = a
		d.mu.Unlock()
		d.watching.Go(func() { a.begin(before[name], wanted[name]) })
	}
}

func (d *Daemon) endOld(old config.App) {
	d.log.Info(fmt.Sprintf("app %s runs and is configured otherwise, or not any more: it ends", old.Name))
	if err := d.endLeftover(old); err != nil {
		d.log.Error(fmt.Sprintf("end app %s: %v", old.Name, firstLine(err)))
		return
	}
	d.forget(func(m *memory) { delete(m.Apps, old.Name) })
}

// awaitReady tells the service manager when all that can serve does, or it took
// too long.
func (d *Daemon) awaitReady() {
	d.reports.extend(d.options.ReadyWithin + 30*time.Second)
	bound := time.NewTimer(d.options.ReadyWithin)
	defer bound.Stop()
	late := false
	for _, settled := range d.settlements() {
		select {
		case <-settled.done:
		case <-d.ending:
			return
		case <-bound.C:
			late = true
		}
		if late {
			break
		}
	}
	line := d.reports.line()
	d.log.Info("serving: " + line)
	d.options.Manager.Ready(line)
}

func (d *Daemon) settlements() (all []*event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, g := range d.groups {
		all = append(all, g.settled)
	}
	for _, a := range d.attach {
		all = append(all, a.settled)
	}
	for _, a := range d.apps {
		all = append(all, a.settled)
	}
	return all
}
