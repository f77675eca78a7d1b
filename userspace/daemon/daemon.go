package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/folder"
	"github.com/sockdist/sockdist/userspace/config"
	"github.com/sockdist/sockdist/userspace/health/rounds"
)

// A Daemon runs once.
type Daemon struct {
	options Options
	log     *slog.Logger
	memory  *memory
	reports *reports
	desk    *desk

	applying sync.Mutex // one change at a time

	mu     sync.Mutex
	file   *config.File
	apps   map[string]*app
	groups map[string]*group
	attach map[string]*attached

	refreshed func() bool // has all programs be of this sockdist, once

	begun    atomic.Bool   // all groups are known
	ending   chan struct{} // closed: no unit starts any more
	signals  atomic.Int32  // of those that end
	ended    chan struct{}
	watching sync.WaitGroup
}

// New makes a daemon. Nothing is touched before Run.
func New(o Options) *Daemon {
	o.complete()
	d := &Daemon{
		options: o, log: o.Logger, file: o.File, reports: &reports{above: o.Manager},
		apps: make(map[string]*app), groups: make(map[string]*group), attach: make(map[string]*attached),
		ending: make(chan struct{}), ended: make(chan struct{}),
	}
	d.refreshed = sync.OnceValue(func() bool {
		_, err := o.Host.Refresh()
		return err == nil // or each attachment says why not
	})
	return d
}

// Run does what the configuration says until a [Daemon.Signal] ends it. Errors
// are of the beginning, when nothing was done yet: they wrap [ErrRunning], or say
// why there can't be a control socket. Units that fail don't end it.
func (d *Daemon) Run() error {
	defer close(d.ended)
	if err := openRuntime(d.options.Runtime); err != nil {
		return err
	}
	held, err := takeLock(d.options.Runtime)
	if err != nil {
		return err
	}
	defer os.Remove(d.options.Runtime) // if nothing is left in it
	defer held.release()
	if d.memory, err = recall(d.options.Runtime); err != nil {
		d.log.Warn(fmt.Sprintf("what an earlier daemon applied isn't known: %v", err))
	}
	if d.desk, err = openDesk(d); err != nil {
		return err
	}
	if d.options.Settled != nil {
		d.options.Settled()
	}
	go d.feedWatchdog() // to the very end
	d.applying.Lock()
	d.begin()
	d.begun.Store(true)
	d.applying.Unlock()
	d.mentionSockets()
	d.awaitReady()
	<-d.ending
	d.end()
	return nil
}

// openRuntime makes the runtime folder, which others may pass through to reach
// the socket. The apps' folders in it are closed.
func openRuntime(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(path, 0o755); err == nil {
			info, err = os.Stat(path)
		}
	}
	if err == nil {
		err = folder.Check(path)
	}
	if err == nil && info.Mode().Perm()&0o111 != 0o111 {
		err = os.Chmod(path, info.Mode().Perm()|0o111)
	}
	if err != nil {
		return fmt.Errorf("the runtime folder: %w", err)
	}
	return nil
}

// Signal handles a signal that this process got. SIGTERM and SIGINT end it: the
// second one doesn't wait for connections of apps, the third one kills their
// workers. SIGHUP applies the configuration.
func (d *Daemon) Signal(sig os.Signal) {
	switch sig {
	case unix.SIGTERM, unix.SIGINT:
		if d.signals.Add(1) == 1 {
			d.log.Info(fmt.Sprintf("ending (%v): apps finish their connections; library groups and attachments stay steered", sig))
			close(d.ending)
			return // the end passes it on
		}
		for _, a := range d.allApps() {
			a.signal(sig)
		}
	case unix.SIGHUP:
		d.watching.Go(d.applyForSignal)
	}
}

func (d *Daemon) applyForSignal() {
	if err := d.Apply(false, func(text string) { d.log.Info("apply: " + text) }); err != nil {
		for _, line := range lines(err) {
			d.log.Error("apply: " + line)
		}
	}
}

func (d *Daemon) isEnding() bool { return isClosed(d.ending) }

// end ends the apps, and lets go of all else.
func (d *Daemon) end() {
	d.options.Manager.Stopping("finishing connections")
	d.endApps()
	d.awaitApply() // which may have begun one, and begins no other
	d.endApps()
	d.mu.Lock()
	groups, attached := d.groups, d.attach
	d.mu.Unlock()
	for _, a := range attached {
		a.leave()
	}
	d.desk.close()
	for _, g := range groups {
		g.leave()
	}
	d.watching.Wait()
}

func (d *Daemon) awaitApply() {
	d.applying.Lock()
	defer d.applying.Unlock()
}

func (d *Daemon) endApps() {
	var group sync.WaitGroup
	for _, a := range d.allApps() {
		group.Go(func() {
			a.finish()
			d.forget(func(m *memory) { delete(m.Apps, a.name) })
		})
	}
	group.Wait()
}

func (d *Daemon) forget(alter func(*memory)) {
	if err := d.memory.change(func() { alter(d.memory) }); err != nil {
		d.log.Error(err.Error())
	}
}

func (d *Daemon) allApps() (all []*app) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range d.apps {
		all = append(all, a)
	}
	return all
}

// mentionSockets tells of those of the service manager that nothing is for.
func (d *Daemon) mentionSockets() {
	wanted := map[string]bool{ControlName: true}
	for _, a := range d.options.File.Apps {
		wanted[a.Activation] = true
	}
	for _, g := range d.options.File.Groups {
		wanted[g.Activation] = true
	}
	for _, g := range d.options.File.Groups {
		if n := len(d.options.called(g.Activation)); n > 1 {
			d.log.Warn(fmt.Sprintf("group %s: %d sockets of the service manager are for it, and the first is taken", g.Name, n))
		}
	}
	for _, s := range d.options.Sockets {
		if !wanted[s.Name] {
			d.log.Warn(fmt.Sprintf("socket %q of the service manager is for nothing: set FileDescriptorName= to control, or to the name of an app or group", s.Name))
		}
	}
}

// feedWatchdog shows the manager that nothing is stuck: not this goroutine, not
// what all requests need, and no supervisor.
func (d *Daemon) feedWatchdog() {
	every := d.options.Manager.Watchdog()
	if every <= 0 {
		return
	}
	post := rounds.Every(every / 2)
	defer post.Stop()
	said := ""
	for {
		select {
		case <-post.C:
		case <-d.ended:
			return
		}
		d.allApps()
		who := d.reports.stuck(every)
		if who == "" {
			d.options.Manager.Alive()
		} else if who != said {
			d.log.Error(fmt.Sprintf("the supervisor of app %s is stuck: the service manager isn't told any more that this process lives", who))
		}
		said = who
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
