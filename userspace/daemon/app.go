package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sockdist/sockdist/userspace/config"
	"github.com/sockdist/sockdist/userspace/control"
)

const (
	// A unit that failed is tried again after firstPause, then twice as long
	// each time.
	firstPause = time.Second
	lastPause  = 30 * time.Second
	// longLife is how long a supervisor runs for its end to be a new trouble.
	longLife = time.Minute
)

// An app has one supervisor after another: when one fails, or when its settings
// change.
type app struct {
	daemon  *Daemon
	name    string
	log     *slog.Logger
	manager *appManager
	settled *event // it serves, or can't for now

	ending chan struct{} // closed: no supervisor begins any more
	gone   chan struct{} // closed: none runs any more
	wake   chan struct{} // the next one begins now

	changing sync.Mutex // held by who gives the app other settings

	mu      sync.Mutex
	wanted  config.App  // of the next supervisor
	applied *config.App // by which the workers were started; nil: none were
	latest  *attempt
	turned  chan struct{} // closed, and replaced, when there is another attempt
	halted  bool          // an operator has stopped it
	ended   bool
	kernel  Kernel
}

// An attempt is one supervisor.
type attempt struct {
	number     int
	supervisor *control.Supervisor // nil if it could not be made
	over       chan struct{}       // closed: err is what it came to
	err        error
}

// newApp makes an app whose workers may run already, with settings that were
// applied.
func (d *Daemon) newApp(wanted config.App, applied *config.App) *app {
	a := &app{
		daemon: d, name: wanted.Name, wanted: wanted, applied: applied,
		log:    d.log.With("app", wanted.Name),
		ending: make(chan struct{}), gone: make(chan struct{}), wake: make(chan struct{}, 1),
		turned: make(chan struct{}), settled: newEvent(),
	}
	a.manager = &appManager{reports: d.reports, report: d.reports.add("app " + a.name), ready: a.settled.set}
	go a.run()
	return a
}

// run has a supervisor run for as long as the app is wanted.
func (a *app) run() {
	defer close(a.gone)
	defer a.daemon.reports.remove(a.manager.report)
	defer a.settled.set()
	for pause := firstPause; ; {
		began := time.Now()
		err := a.once()
		a.manager.silent()
		if time.Since(began) > longLife {
			pause = firstPause
		}
		switch {
		case isClosed(a.ending):
			a.mention(err)
			return
		case errors.Is(err, control.ErrHandedOver):
			continue
		case err == nil:
			a.halt()
			a.wait(0)
			pause = firstPause
		default:
			a.missWorkers()
			a.mention(fmt.Errorf("%w; trying again in %v", firstLine(err), pause))
			a.manager.set(a.manager.report, "failed: "+firstLine(err).Error())
			a.settled.set()
			a.wait(pause)
			pause = min(2*pause, lastPause)
		}
	}
}

func (a *app) mention(err error) {
	if err != nil && !errors.Is(err, control.ErrHandedOver) {
		a.log.Error(err.Error())
	}
}

// halt is for an app that an operator has stopped.
func (a *app) halt() {
	a.mu.Lock()
	a.halted, a.applied = true, nil
	a.mu.Unlock()
	a.daemon.forget(func(m *memory) { delete(m.Apps, a.name) })
	a.log.Info("stopped, until the configuration is applied again")
	a.manager.set(a.manager.report, "stopped")
	a.settled.set()
}

// missWorkers notes that an app that failed left no workers, mostly.
func (a *app) missWorkers() {
	if hasWorkers(a.name) {
		return
	}
	a.mu.Lock()
	a.applied = nil
	a.mu.Unlock()
	a.daemon.forget(func(m *memory) { delete(m.Apps, a.name) })
}

// wait returns when the next supervisor is to begin; 0 is for when somebody wants it.
func (a *app) wait(pause time.Duration) {
	var over <-chan time.Time
	if pause > 0 {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-over:
	case <-a.wake:
	case <-a.ending:
	}
}

func (a *app) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// once has one supervisor run to its end.
func (a *app) once() error {
	a.mu.Lock()
	if a.ended || a.halted {
		a.mu.Unlock()
		return nil
	}
	t := &attempt{number: 1, over: make(chan struct{})}
	if a.latest != nil {
		t.number = a.latest.number + 1
	}
	wanted := a.wanted
	var err error
	t.supervisor, a.kernel, err = a.supervisor(wanted)
	a.latest = t
	close(a.turned)
	a.turned = make(chan struct{})
	a.mu.Unlock()

	if err == nil {
		noted := a.noteIntent(wanted)
		go a.noteStart(t, wanted, noted)
		err = t.supervisor.Run(context.Background())
	}
	t.err = err
	close(t.over)
	return err
}

// noteIntent remembers an app before its first worker starts: a daemon that is
// killed right then has left it all the same. Workers that are there already may
// be somebody else's.
func (a *app) noteIntent(settings config.App) (noted bool) {
	a.mu.Lock()
	first := a.applied == nil
	a.mu.Unlock()
	if !first || hasWorkers(a.name) {
		return false
	}
	a.daemon.forget(func(m *memory) { m.Apps[a.name] = settings })
	return true
}

// noteStart remembers by which settings workers were started, unless they were
// there before.
func (a *app) noteStart(t *attempt, settings config.App, noted bool) {
	select {
	case <-t.supervisor.Started():
	case <-t.over:
		return
	}
	a.mu.Lock()
	first := a.applied == nil
	if first {
		a.applied = &settings
	}
	a.mu.Unlock()
	if first && !noted {
		a.daemon.forget(func(m *memory) { m.Apps[a.name] = settings })
	}
}

// present returns the supervisor that runs, or says why there is none.
func (a *app) present() (*control.Supervisor, error) {
	a.mu.Lock()
	t, halted := a.latest, a.halted
	a.mu.Unlock()
	switch {
	case halted:
		return nil, fmt.Errorf("app %s was stopped: sockdist apply starts it again", a.name)
	case t == nil || t.supervisor == nil || isClosed(t.over):
		why := "it has not begun"
		if t != nil && isClosed(t.over) && t.err != nil {
			why = firstLine(t.err).Error()
		}
		return nil, fmt.Errorf("app %s doesn't run: %s", a.name, why)
	}
	return t.supervisor, nil
}
