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
// While nothing changes it costs one question to the kernel a second, and a
// look at the serving processes.
func Watch(ctx context.Context, host *loader.Host, o Options, attached []Group, log *slog.Logger) error {
	if err := o.check(); err != nil {
		return explain(err, "watch %s", o.Address)
	}
	ns, err := o.namespace()
	if err != nil {
		return explain(err, "watch %s", o.Address)
	}
	w := &watcher{host: host, options: o, ns: ns, log: log,
		groups: make(map[sockets.Group]string), lost: make(map[lostSlot]time.Time), detached: make(map[sockets.Group]bool)}
	for _, g := range attached {
		w.remember(g)
	}
	w.sockets, _ = w.glance()
	tick := time.NewTicker(glanceEvery)
	defer tick.Stop()
	for len(w.groups) > 0 {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			w.turn(ctx, now)
		}
	}
	return nil
}

// watcher looks after groups.
type watcher struct {
	host    *loader.Host
	options Options
	ns      namespace
	log     *slog.Logger

	groups   map[sockets.Group]string // their names
	detached map[sockets.Group]bool   // by somebody else: to be left alone
	servers  map[int]uint64           // start times of who serves, by PID
	lost     map[lostSlot]time.Time   // since when a slot's listener is gone

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

// turn glances at the sockets, and looks closer if something changed.
func (w *watcher) turn(ctx context.Context, now time.Time) {
	w.missDetached()
	if len(w.groups) == 0 {
		return
	}
	cookies, err := w.glance()
	if err != nil {
		w.complain(err)
		return
	}
	if w.isDeserted(cookies) {
		return
	}
	if !slices.Equal(cookies, w.sockets) || w.serverDied() {
		w.settle = settleGlances
	}
	if !w.isDue(now, !slices.Equal(cookies, w.sockets)) {
		return
	}
	w.settle = max(w.settle-1, 0)
	w.sockets, w.looked = cookies, now
	w.look(ctx)
}

func (w *watcher) isDue(now time.Time, changed bool) bool {
	since := now.Sub(w.looked)
	if w.trouble != "" {
		return changed || since >= retryAfter
	}
	return w.settle > 0 || since >= lookEvery
}

// missDetached notices what somebody else has detached.
func (w *watcher) missDetached() {
	names, err := w.host.Groups()
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
func (w *watcher) glance() (cookies []uint64, err error) {
	err = w.ns.do(func() error {
		found, err := sockets.Listeners(w.options.Address)
		for _, l := range found {
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

// serverDied tells whether one did since the last look.
func (w *watcher) serverDied() bool {
	for pid, start := range w.servers {
		if !sockets.Alive(pid, start) {
			delete(w.servers, pid)
			return true
		}
	}
	return false
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
	w.servers = nil
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
			corrected, err := g.Recount()
			if corrected > 0 {
				w.log.Warn("counts were wrong, as the kernel has opened or closed connections unseen: they are right again", "group", attached.Spec.Name, "connections", corrected)
			}
			return err
		})
		if err != nil {
			w.complain(err)
		}
	}
}

func (w *watcher) remember(g Group) {
	w.groups[sockets.Group{Address: g.Spec.Address, V6Only: g.Spec.V6Only}] = g.Spec.Name
	if w.servers == nil {
		w.servers = make(map[int]uint64)
	}
	for _, s := range g.Slots {
		if s.State != loader.Gone && sockets.Alive(s.PID, s.Start) {
			w.servers[s.PID] = s.Start
		}
	}
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
