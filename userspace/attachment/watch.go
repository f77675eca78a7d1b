package attachment

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/health/rounds"
	"github.com/sockdist/sockdist/userspace/sockets"
)

const (
	// glanceEvery is how often Watch asks the kernel which sockets listen.
	glanceEvery = time.Second
	// lookEvery is how often it looks at everything, whatever the glances say.
	lookEvery = 30 * time.Second
	// settleGlances is for how many glances after a change it looks each time:
	// workers start to serve a while after their listeners are there.
	settleGlances = 3
	// keepGone is how long a slot waits for another listener.
	keepGone = 30 * time.Second
	// retryAfter is how long it leaves what it can't do at the moment.
	retryAfter = 10 * time.Second
)

// Watch keeps the groups that Attach made up to date until ctx ends, and leaves
// them steered. It also goes on while nobody listens, as when the server is
// restarted. It returns early, with nil, when all groups were detached by
// somebody else. Each change is one line in the log.
//
// While nothing changes it costs one question to the kernel a second, which all
// who watch share, and one whether a serving process has died.
func Watch(ctx context.Context, host *loader.Host, o Options, attached []Group, log *slog.Logger) error {
	w, err := newWatcher(host, o, attached, log)
	if err != nil {
		return explain(err, "watch %s", o.Address)
	}
	defer w.servers.forget()
	w.sockets, _ = w.glance(time.Now())
	glances, looks := rounds.Every(glanceEvery), rounds.Every(lookEvery)
	defer glances.Stop()
	defer looks.Stop()
	for len(w.groups) > 0 {
		select {
		case <-ctx.Done():
			return nil
		case now := <-glances.C:
			w.turn(ctx, now, false)
		case now := <-looks.C:
			w.turn(ctx, now, true)
		}
	}
	return nil
}

func newWatcher(host *loader.Host, o Options, attached []Group, log *slog.Logger) (*watcher, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	ns, err := o.namespace()
	if err != nil {
		return nil, err
	}
	w := &watcher{host: host, options: o, ns: ns, log: log,
		groups: make(map[sockets.Group]string), lost: make(map[lostSlot]time.Time), detached: make(map[sockets.Group]bool)}
	for _, g := range attached {
		w.remember(g)
	}
	return w, nil
}

// watcher looks after groups.
type watcher struct {
	host    *loader.Host
	options Options
	ns      namespace
	log     *slog.Logger

	groups   map[sockets.Group]string // their names
	detached map[sockets.Group]bool   // by somebody else: to be left alone
	servers  processes
	lost     map[lostSlot]time.Time // since when a slot's listener is gone

	sockets []uint64 // cookies, at the last look
	looked  time.Time
	settle  int
	nobody  bool
	trouble string // the last one, which is said once
}

type lostSlot struct {
	group      string
	slot       int
	generation uint32
}

// turn glances at the sockets, and looks closer if something changed, or in any case.
func (w *watcher) turn(ctx context.Context, now time.Time, anyway bool) {
	w.missDetached(now)
	if len(w.groups) == 0 {
		return
	}
	cookies, err := w.glance(now)
	if err != nil {
		w.complain(err)
		return
	}
	if w.isDeserted(cookies) {
		return
	}
	changed := !slices.Equal(cookies, w.sockets)
	if w.servers.died() || changed {
		w.settle = settleGlances
	}
	if !w.isDue(now, changed, anyway) {
		return
	}
	w.settle = max(w.settle-1, 0)
	w.sockets, w.looked = cookies, now
	if changed || w.trouble != "" || !w.isSettled(now) {
		w.look(ctx)
	}
}

func (w *watcher) isDue(now time.Time, changed, anyway bool) bool {
	if w.trouble != "" {
		return changed || now.Sub(w.looked) >= retryAfter
	}
	return w.settle > 0 || anyway
}

// missDetached notices what somebody else has detached.
func (w *watcher) missDetached(now time.Time) {
	names, err := namesSeen.Since(now, w.host.Dir(), w.host.Groups)
	if err != nil {
		w.complain(err)
		return
	}
	for key, name := range w.groups {
		if !slices.Contains(names, name) {
			w.giveUp(key, name)
		}
	}
}

func (w *watcher) giveUp(key sockets.Group, name string) {
	delete(w.groups, key)
	w.detached[key] = true
	w.log.Info("detached by another process, no longer watched", "group", name)
}

// glance lists the sockets that listen, in an order that depends on nothing else.
func (w *watcher) glance(now time.Time) (cookies []uint64, err error) {
	err = w.ns.do(func() error {
		all, err := sockets.ListenersSince(now)
		for _, l := range matching(all, w.options.Address) {
			cookies = append(cookies, l.Cookie)
		}
		return err
	})
	slices.Sort(cookies)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // the namespace has no process
	}
	return cookies, err
}

// isDeserted tells whether nobody listens: there is nothing to do but wait.
func (w *watcher) isDeserted(cookies []uint64) bool {
	deserted := len(cookies) == 0
	if deserted && !w.nobody {
		w.log.Warn("nothing listens any more, waiting", "address", w.options.Address.String())
	}
	w.nobody = deserted
	if deserted {
		w.sockets = nil
	}
	return deserted
}

// look brings the groups up to date.
func (w *watcher) look(ctx context.Context) {
	a := attempt{ctx: ctx, host: w.host, options: w.options, ns: w.ns, watch: w}
	var groups []Group
	err := w.ns.do(func() (err error) {
		groups, err = a.run()
		return err
	})
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, ErrNobody):
		return
	case err != nil:
		w.complain(err)
		return
	}
	w.trouble = ""
	w.servers.forget()
	w.recount(groups)
	maps.DeleteFunc(w.lost, func(_ lostSlot, since time.Time) bool { return time.Since(since) > keepGone+2*lookEvery })
	for _, g := range groups {
		w.remember(g)
		w.tell(g)
	}
}

// recount puts counts right that an event which no program saw left wrong.
func (w *watcher) recount(groups []Group) {
	for _, attached := range groups {
		err := w.ns.do(func() error {
			g, err := w.host.Group(attached.Spec.Name)
			if err != nil {
				return err
			}
			defer g.Close()
			w.recountOne(g)
			return nil
		})
		if err != nil {
			w.complain(err)
		}
	}
}

// recountOne works in the namespace.
func (w *watcher) recountOne(g *loader.Group) {
	corrected, err := g.Recount()
	if corrected > 0 {
		w.log.Warn("counts were wrong, as the kernel has opened or closed connections unseen: they are right again", "group", g.Name(), "connections", corrected)
	}
	if err != nil {
		w.complain(err)
	}
}

func (w *watcher) remember(g Group) {
	w.groups[sockets.Group{Address: g.Spec.Address, V6Only: g.Spec.V6Only}] = g.Spec.Name
	w.servers.add(g.Slots)
}

func (w *watcher) tell(g Group) {
	if g.New {
		w.log.Info("steered now", "group", g.Spec.Name, "address", g.Spec.Address.String(), "slots", len(g.Slots))
		return
	}
	for _, c := range g.Changes {
		attributes := []any{"group", g.Spec.Name}
		if c.Kind.ofSlot() {
			attributes = append(attributes, "slot", c.Slot, "pid", c.PID)
		}
		if c.Process != "" {
			attributes = append(attributes, "process", c.Process)
		}
		w.log.Info(c.Kind.String(), attributes...)
	}
}

// complain says a thing once.
func (w *watcher) complain(err error) {
	if text := err.Error(); text != w.trouble {
		w.trouble = text
		w.log.Warn(text, "address", w.options.Address.String())
	}
}

// leaves tells whether a group is none of the watcher's business: somebody has
// detached it, perhaps a moment ago. Nobody but a watcher leaves any.
func (w *watcher) leaves(key sockets.Group, have *known) bool {
	if w == nil {
		return false
	}
	key.Interface = 0
	if name, mine := w.groups[key]; mine && have == nil {
		w.giveUp(key, name)
	}
	return w.detached[key]
}

// keeps tells whether a slot waits for another listener.
func (w *watcher) keeps(group string, s loader.Slot) bool {
	if w == nil {
		return false
	}
	id := lostSlot{group, s.Slot, s.Generation}
	since, known := w.lost[id]
	if !known {
		w.lost[id] = time.Now()
		w.log.Info(Lost.String(), "group", group, "slot", s.Slot, "pid", s.PID)
		return true
	}
	if time.Since(since) < keepGone {
		return true
	}
	delete(w.lost, id)
	return false
}
