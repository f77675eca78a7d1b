package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/attachment"
	"github.com/sockdist/sockdist/userspace/config"
)

// awaitEvery is how often it is looked whether a server has come.
const awaitEvery = time.Second

// attached is a server that runs by itself.
type attached struct {
	daemon   *Daemon
	settings config.Attachment
	log      *slog.Logger
	report   *report
	settled  *event

	stop context.CancelFunc
	gone chan struct{}
	wake chan struct{}

	mu     sync.Mutex
	err    error         // why it isn't attached; nil also while nobody listens
	tried  int           // how often
	turned chan struct{} // closed, and replaced, after each try
	given  bool          // it was detached by somebody else
}

func (d *Daemon) newAttached(settings config.Attachment) *attached {
	ctx, stop := context.WithCancel(context.Background())
	a := &attached{
		daemon: d, settings: settings, log: d.log.With("attach", settings.Name), report: d.reports.add("attach " + settings.Name),
		settled: newEvent(), stop: stop, gone: make(chan struct{}), wake: make(chan struct{}, 1), turned: make(chan struct{}),
	}
	d.forget(func(m *memory) { m.Attach[settings.Name] = settings })
	go a.run(ctx)
	return a
}

func (a *attached) options() attachment.Options {
	s := a.settings
	return attachment.Options{Address: s.Address, Name: s.Name, Policy: s.Policy, PIDs: s.PIDs, NetNS: s.NetNS, Refreshed: a.daemon.refreshed()}
}

// run attaches, and watches what it attached.
func (a *attached) run(ctx context.Context) {
	defer close(a.gone)
	defer a.settled.set()
	said := ""
	for pause := firstPause; ctx.Err() == nil; {
		groups, err := attachment.Attach(ctx, a.daemon.options.Host, a.options())
		if ctx.Err() != nil && err != nil {
			return
		}
		a.note(err, false)
		switch {
		case err == nil:
			said, pause = "", firstPause
			if !a.watch(ctx, groups) {
				return
			}
		case isNobody(err):
			if said != "nobody" {
				a.log.Info(fmt.Sprintf("nothing listens at %s yet, waiting", a.settings.Address))
			}
			said, pause = "nobody", firstPause
			a.daemon.reports.set(a.report, "waits for its server")
			a.wait(ctx, awaitEvery)
		default:
			if text := err.Error(); text != said {
				said = text
				a.log.Error(text)
			}
			a.daemon.reports.set(a.report, "failed: "+err.Error())
			a.wait(ctx, pause)
			pause = min(2*pause, lastPause)
		}
	}
}

// isNobody tells whether the server isn't there yet, or its namespace.
func isNobody(err error) bool {
	return errors.Is(err, attachment.ErrNobody) || errors.Is(err, fs.ErrNotExist)
}

// watch follows the groups; false: it has ended.
func (a *attached) watch(ctx context.Context, groups []attachment.Group) bool {
	slots := 0
	for _, g := range groups {
		slots += len(g.Slots)
		a.log.Info("steering", "group", g.Spec.Name, "address", g.Spec.Address.String(), "slots", len(g.Slots))
	}
	a.daemon.reports.set(a.report, fmt.Sprintf("steered, %d slots", slots))
	err := attachment.Watch(ctx, a.daemon.options.Host, a.options(), groups, a.log)
	switch {
	case ctx.Err() != nil:
		return false
	case err != nil: // its namespace went
		a.note(err, false)
		a.wait(ctx, firstPause)
	default:
		a.log.Info("it was detached: sockdist apply attaches it again")
		a.daemon.reports.set(a.report, "detached")
		a.note(nil, true)
		select {
		case <-a.wake:
		case <-ctx.Done():
		}
	}
	return true
}

func (a *attached) note(err error, given bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.given = given
	if a.err = err; err != nil && isNobody(err) {
		a.err = nil
	}
	a.tried++
	close(a.turned)
	a.turned = make(chan struct{})
	a.settled.set()
}

func (a *attached) wait(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-a.wake:
	case <-ctx.Done():
	}
}

// state says what is wrong, and whether somebody has detached it.
func (a *attached) state() (err error, given bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err, a.given
}

// await returns what the first try came to; that nobody listens is no error.
func (a *attached) await() error {
	select {
	case <-a.settled.done:
	case <-a.gone:
	}
	err, _ := a.state()
	return err
}

// again tries once more, for an apply.
func (a *attached) again() error {
	a.mu.Lock()
	turned := a.turned
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
	select {
	case <-turned:
	case <-a.gone:
	}
	err, _ := a.state()
	return err
}

// leave ends the watch, and leaves it steered.
func (a *attached) leave() {
	a.stop()
	<-a.gone
	a.daemon.reports.remove(a.report)
}

// remove gives the server back as it was.
func (a *attached) remove() error {
	a.leave()
	return a.daemon.detach(a.settings)
}

// detach undoes an attachment, of this daemon or an earlier one.
func (d *Daemon) detach(old config.Attachment) error {
	names := config.AttachedNames(old.Name)
	var ours []string
	err := eachGroup(d.options.Host, func(g *loader.Group) error {
		spec := g.Spec()
		if spec.App == "" && slices.Contains(names, spec.Name) && spec.Address.Port() == old.Address.Port {
			ours = append(ours, spec.Name)
		}
		return nil
	})
	for _, name := range ours {
		if one := attachment.Detach(context.Background(), d.options.Host, name, old.NetNS); one != nil && !errors.Is(one, fs.ErrNotExist) {
			err = errors.Join(err, one)
		}
	}
	if err == nil {
		d.forget(func(m *memory) { delete(m.Attach, old.Name) })
	}
	return err
}

// sameAttachment tells whether nothing differs.
func sameAttachment(a, b config.Attachment) bool {
	a.Mark, b.Mark = config.Mark{}, config.Mark{}
	return reflect.DeepEqual(a, b)
}

// staysAttached tells whether the sockets are the same ones.
func staysAttached(from, to config.Attachment) bool {
	return from.Address == to.Address && from.NetNS == to.NetNS
}
