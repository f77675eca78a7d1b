package membership

import (
	"fmt"
	"slices"
	"time"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/health"
	"github.com/sockdist/sockdist/userspace/health/rounds"
	"github.com/sockdist/sockdist/userspace/sockets"
)

const (
	// tidyEvery is how often slots without a worker are looked for.
	tidyEvery = time.Second
	// tidySeldom is how often while nothing happens: what no program was told of.
	tidySeldom = 5 * time.Second
	// recountEvery is how often the counts are compared with the connections there are.
	recountEvery = 30 * time.Second
	// leastBeat is the least time after which a heartbeat stands still: workers of
	// the library beat ten times a second.
	leastBeat = 500 * time.Millisecond
)

// A guard looks for workers that hang, for slots that nobody is in any more, and
// for connections that come without a pick. While nothing of that can be it sleeps,
// and only the rounds glance at the group's memory. It is for one goroutine.
type guard struct {
	group *Group
	after time.Duration // Config.HangAfter
	every time.Duration // between two looks
	rests time.Duration // between two glances
	shown loader.Glance
	// queue watches what workers accept, beat their heartbeats; nil: nobody is
	// ejected.
	queue, beat *health.Check
	ejected     map[int]*ejection
	seen        map[int]*sight
	open        bool // it was said that most hang
	picks       picks
	slots       []loader.Progress
}

// guard works until the group ends.
func (g *Group) guard() {
	w := &guard{group: g}
	defer w.forgetAll()
	w.begin()
	look, tidy, recount := rounds.Every(w.every), rounds.Every(tidyEvery), rounds.Every(recountEvery)
	defer look.Stop()
	defer tidy.Stop()
	defer recount.Stop()
	g.recount() // of what an earlier daemon left
	for {
		select {
		case <-look.C:
			tidy.Change(tidyEvery, nil) // something has happened
			if w.look() {
				look.Change(w.every, nil)
			} else {
				look.Change(w.rests, w.glance)
			}
		case moment := <-tidy.C:
			if !g.tidy(moment) {
				tidy.Change(tidySeldom, nil)
			}
		case <-recount.C:
			g.recount()
		case <-g.change:
			w.begin()
			look.Change(w.every, nil)
		case <-g.stop:
			return
		}
	}
}

// begin starts to watch by the present configuration.
func (w *guard) begin() {
	w.forgetAll()
	w.ejected, w.seen = make(map[int]*ejection), make(map[int]*sight)
	w.after, w.queue, w.beat = w.group.Config().HangAfter, nil, nil
	if w.after == 0 {
		w.pardon()
		w.every, w.rests = tidyEvery, tidyEvery
		return
	}
	w.queue, w.beat = health.NewCheck(w.after), health.NewCheck(max(w.after, leastBeat))
	w.every, w.rests = w.queue.Interval(), w.queue.GlanceInterval()
}

// glance is what the rounds do while this sleeps.
func (w *guard) glance() bool { return w.group.kernel.Glance(&w.shown) }

// pardon readmits whoever was ejected, where nobody would do it any more.
func (w *guard) pardon() {
	g := w.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return
	}
	for _, p := range g.kernel.Progress(nil) {
		if m := g.members[p.Slot]; m != nil && p.Hold&loader.HoldHang != 0 {
			g.unhold(m, loader.HoldHang)
		}
	}
}

func (g *Group) unhold(m *member, why loader.Hold) {
	if err := g.kernel.Unhold(m.slot, why); err != nil {
		g.log.Error(fmt.Sprintf("let connections come to %s: %v", m, err))
	}
}

func (w *guard) forgetAll() {
	for slot := range w.ejected {
		w.forget(slot)
	}
}

// look tells whether it has to look again soon.
func (w *guard) look() (again bool) {
	canaries, again := w.lookNow(health.Now())
	for _, e := range canaries {
		e.sendCanary(w.group) // without the lock: it may take its time
	}
	return again
}

// recount puts counts right that an event which no program saw left wrong.
func (g *Group) recount() {
	corrected, err := g.kernel.Recount()
	if err != nil {
		g.log.Error(fmt.Sprintf("compare the counts with the connections there are: %v", err))
	}
	if corrected > 0 {
		g.log.Warn(fmt.Sprintf("counts were wrong by %d connections, which the kernel has opened or closed unseen: they are right again", corrected))
	}
}

// lookNow returns who wants a canary, and whether somebody may hang.
func (w *guard) lookNow(now time.Duration) (canaries []*ejection, may bool) {
	g := w.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return nil, false
	}
	w.slots = g.kernel.Progress(w.slots[:0])
	if w.picks.areMissing(now, w.slots) {
		g.steerAgain()
	}
	if w.after == 0 {
		return nil, false
	}
	seen, err := w.sights(now)
	if err != nil {
		g.log.Error(fmt.Sprintf("look whether workers hang: %v", err))
		return nil, true
	}
	w.judge(now, seen)
	canaries = w.tend(now, seen)
	return canaries, len(w.ejected) > 0 || slices.ContainsFunc(seen, (*sight).mayHang)
}

// mayHang: somebody waits for it, or its heart stands still.
func (s *sight) mayHang() bool { return s.backlog > 0 || s.still > 0 }

func (g *Group) steerAgain() {
	if err := g.steer(); err != nil {
		g.log.Error(fmt.Sprintf("steer again: %v", err))
		return
	}
	g.log.Warn("connections came that nobody had picked a worker for: the program was taken off, and is attached again")
}

// A sight is what a member showed at a look.
type sight struct {
	member   *member
	progress loader.Progress
	backlog  uint64
	accepted int64

	stuck  int           // looks in a row at which connections waited and none was accepted
	still  int           // looks in a row that showed no progress of any kind
	since  time.Duration // of the second of these
	waited time.Duration // what it had waited for a CPU then
}

// sights looks at each member that gets connections, or would if it didn't
// hang. Backlogs are asked for only if there can be one: a group without
// traffic costs next to nothing.
func (w *guard) sights(now time.Duration) (seen []*sight, err error) {
	quiet := true
	for _, p := range w.slots {
		m := w.group.members[p.Slot]
		if m == nil || m.cookie != p.Cookie || m.lost != 0 || p.State != loader.Live || p.Hold&^loader.HoldHang != 0 {
			continue
		}
		seen = append(seen, &sight{member: m, progress: p})
		before := w.seen[p.Slot]
		quiet = quiet && before != nil && before.progress.Opened == p.Opened && before.backlog == 0 && p.Hold == 0
	}
	var backlogs map[uint64]uint32
	if !quiet {
		if backlogs, err = sockets.Backlogs(w.group.place.Address.Port()); err != nil {
			return nil, err
		}
	}
	last := w.seen
	w.seen = make(map[int]*sight, len(seen))
	for _, s := range seen {
		s.backlog = uint64(backlogs[s.member.cookie])
		s.accepted = int64(s.progress.Opened) - int64(s.backlog)
		s.follow(last[s.member.slot], now)
		w.seen[s.member.slot] = s
	}
	return seen, nil
}

// follow compares with the look before.
func (s *sight) follow(before *sight, now time.Duration) {
	if before == nil || before.member != s.member {
		return
	}
	if s.backlog > 0 && before.backlog > 0 && s.accepted <= before.accepted {
		s.stuck = before.stuck + 1
	}
	canShow := s.backlog > 0 || s.progress.Beat != 0
	if !canShow || s.accepted > before.accepted || s.progress.Beat != before.progress.Beat {
		return
	}
	s.still, s.since, s.waited = before.still+1, before.since, before.waited
	if s.still == 2 {
		s.since, s.waited = now, cpuWait(s.member.process.pid)
	}
}

// isStarved tells whether a worker shows no progress because it gets no CPU.
// That is no fault of its own, and the others get no more of them.
func (s *sight) isStarved(now, hangs, after time.Duration) bool {
	if s.still < 3 || hangs > mostStarved*after || now == s.since {
		return false
	}
	return float64(cpuWait(s.member.process.pid)-s.waited)/float64(now-s.since) > starved
}
