package control

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sockdist/sockdist/userspace/health"
	"github.com/sockdist/sockdist/userspace/health/rounds"
)

// OnHang is what becomes of a worker that hangs.
type OnHang string

const (
	// RestartHung ejects it, gives its queue to the others, and kills it when
	// it still hangs after Config.HangGrace.
	RestartHung OnHang = "restart"
	// EjectHung does so but for killing it.
	EjectHung OnHang = "eject"
	// IgnoreHung only says that it hangs.
	IgnoreHung OnHang = "ignore"
)

const (
	// DefaultHangAfter is a good [Config.HangAfter].
	DefaultHangAfter = 500 * time.Millisecond
	// DefaultHangGrace stands for a zero [Config.HangGrace]. A server that does
	// one thing at a time looks hung during a long request, and is not to be
	// killed for it.
	DefaultHangGrace = 30 * time.Second

	canaryPatience = 200 * time.Millisecond
)

// guard looks for workers that hang: with a queue from which they accept
// nothing, or, if they use the library, with a heartbeat that stands still. They
// get no new connections, and the others get their queue. A
// worker that is ejected for its queue has nothing any more by which one could see that
// it goes on; therefore a canary, a connection of ours, waits in its queue.
//
// While nobody can hang it sleeps: a worker without a queue, and with a heart
// that beats, has to get a connection first. Then only the rounds glance at the
// kernel side's memory.
type guard struct {
	app     *Supervisor
	post    *rounds.Post
	check   *health.Check // of queues
	hearts  *health.Check
	beat    map[int]uint64 // at the last look
	ejected map[int]*ejection
	idle    map[int]uint64 // what a slot without a backlog had opened
	waits   waits
	open    bool // it was said that most hang
}

// watchProgress guards the workers until the app ends.
func (s *Supervisor) watchProgress() {
	if s.config.HangAfter == 0 || s.config.OnHang == IgnoreHung {
		s.pardon()
	}
	if s.config.HangAfter == 0 {
		return
	}
	g := &guard{
		app: s, check: health.NewCheck(s.config.HangAfter), hearts: health.NewCheck(max(s.config.HangAfter, slowestBeat)),
		beat: make(map[int]uint64), ejected: make(map[int]*ejection), idle: make(map[int]uint64), waits: make(waits),
	}
	defer g.end()
	g.post = rounds.Every(g.check.Interval())
	defer g.post.Stop()
	glance := s.steering.Glancer()
	for {
		select {
		case <-g.post.C:
			if g.look() {
				g.post.Change(g.check.Interval(), nil)
			} else {
				g.post.Change(g.check.GlanceInterval(), glance)
			}
		case <-s.urgency.at(hurried):
			return
		}
	}
}

// pardon lets connections come to workers that an earlier supervisor has ejected,
// where this one ejects none and so would never see that they go on.
func (s *Supervisor) pardon() {
	traffic, err := s.steering.Traffic()
	for slot, t := range traffic {
		if t.Held&Hung != 0 {
			err = errors.Join(err, s.steering.Unhold(slot, Hung))
		}
	}
	if err != nil {
		s.log.Error(fmt.Sprintf("let connections come to workers that were ejected: %v", err))
	}
}

func (g *guard) end() {
	for slot := range g.ejected {
		g.forget(slot)
	}
}

// look tells whether it has to look again an Interval later.
func (g *guard) look() (again bool) {
	g.forgetGone()
	traffic, err := g.app.steering.Traffic()
	if err == nil {
		var readings []health.Reading
		if readings, err = g.readings(traffic); err == nil {
			return g.act(health.Now(), readings, traffic)
		}
	}
	g.app.log.Error(fmt.Sprintf("look whether workers hang: %v", err))
	return true
}

// act does what the readings call for, and tells whether somebody may hang.
func (g *guard) act(now time.Duration, readings []health.Reading, traffic map[int]Traffic) (may bool) {
	may = g.noteWaits(now, readings, traffic)
	found := g.judge(now, readings, traffic)
	g.sayIfOpen(found)
	for _, h := range found.hung {
		if g.ejected[h.Slot] == nil && !g.isStarved(now, h) {
			g.eject(now, h)
		}
	}
	for _, slot := range found.recovered {
		g.readmit(slot)
	}
	g.forgetIgnored(found)
	for _, r := range readings {
		beats := traffic[r.Slot].Beat != 0
		if r.Ejected && g.ejected[r.Slot] == nil && !slices.Contains(found.recovered, r.Slot) {
			g.inherit(now, r.Slot, beats)
		}
		if e := g.ejected[r.Slot]; e != nil {
			e.still = e.still && beats
			g.tend(now, e, r.Backlog)
		}
	}
	return may || len(g.ejected) > 0
}

// noteWaits is for isStarved. It tells whether there is something to note: a
// worker with a queue, or a heart that stands still.
func (g *guard) noteWaits(now time.Duration, readings []health.Reading, traffic map[int]Traffic) (any bool) {
	for _, r := range readings {
		w := g.app.crew.in(r.Slot)
		still := g.stands(r.Slot, traffic[r.Slot].Beat)
		if r.Backlog == 0 && !still || w == nil {
			g.waits.forget(r.Slot)
			continue
		}
		g.waits.note(now, w)
		any = true
	}
	return any
}

// isStarved tells whether a worker does nothing because it gets no CPU. That
// is no fault of its own, and the others get no more of them.
func (g *guard) isStarved(now time.Duration, found hang) bool {
	return found.For < mostStarved*g.app.config.HangAfter && g.waits.share(found.Slot, now-found.For) > starved
}

// forgetGone forgets workers that have ended. Their canaries are in the queues of
// others by now, or accepted by these.
func (g *guard) forgetGone() {
	for slot, e := range g.ejected {
		if e.life.process.isDone() {
			g.forget(slot)
		}
	}
}

// readings asks for backlogs only if there can be one: an app without traffic
// costs next to nothing.
func (g *guard) readings(traffic map[int]Traffic) ([]health.Reading, error) {
	var readings []health.Reading
	quiet := true
	for _, w := range g.app.crew.all() {
		l := w.current()
		if e := g.ejected[w.slot]; e != nil && e.life != l {
			g.forget(w.slot)
		}
		if l == nil || !isClosed(l.ready) || l.process.isDone() {
			continue
		}
		t := traffic[w.slot]
		readings = append(readings, health.Reading{Slot: w.slot, Opened: t.Opened, Ejected: t.Held&Hung != 0})
		before, known := g.idle[w.slot]
		quiet = quiet && known && before == t.Opened && t.Held&Hung == 0
	}
	if quiet {
		return readings, nil
	}
	backlogs, err := g.app.listeners.backlogs()
	if err != nil {
		return nil, err
	}
	clear(g.idle)
	for i := range readings {
		r := &readings[i]
		if r.Backlog = backlogs[r.Slot]; r.Backlog == 0 {
			g.idle[r.Slot] = r.Opened
		}
	}
	return readings, nil
}

func (g *guard) sayIfOpen(o outlook) {
	if o.failOpen && !g.open {
		g.app.log.Warn(fmt.Sprintf("%d workers accept nothing, which is most of them: none is ejected, as the cause is hardly theirs", o.suspected))
	}
	g.open = o.failOpen
}

// forgetIgnored has a worker that hangs, goes on, and hangs again told of twice.
func (g *guard) forgetIgnored(o outlook) {
	if g.app.config.OnHang != IgnoreHung {
		return
	}
	for slot := range g.ejected {
		if !slices.ContainsFunc(o.hung, func(h hang) bool { return h.Slot == slot }) {
			g.forget(slot)
		}
	}
}
