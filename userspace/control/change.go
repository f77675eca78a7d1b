package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// ErrEnding is wrapped by the errors of changes to an app that ends.
var ErrEnding = errors.New("the app is ending")

// goal is what the crew is to become.
type goal struct {
	workers    int
	configured int // that it was started with
	generation int
	// reloading: workers of an earlier generation are to be replaced.
	reloading bool
	// atOnce: all of them together, not one after the other.
	atOnce bool
}

// Reload replaces every worker by a new one, which gets connections when it is
// ready; only then its predecessor gets none any more, and is ended when it has
// none left or [Config.Grace] is over. It returns when all new workers are
// ready; old ones may still have connections to finish. One worker at a time is
// replaced, or all of them at once beside the old. A new worker that doesn't
// get ready is ended, and so is the reload: the others serve on, old and new,
// as many as before.
//
// Say is told of the progress. The error wraps [ErrEnding], or is a [*NotReadyError].
func (s *Supervisor) Reload(ctx context.Context, atOnce bool, say func(string)) error {
	s.config.Manager.Reloading()
	defer func() { s.config.Manager.Reloaded(s.summary()) }()
	return s.change(ctx, say, func(g *goal) {
		g.generation++
		g.reloading, g.atOnce = true, atOnce
		say(fmt.Sprintf("replacing %d workers", g.workers))
	})
}

// Scale changes the number of workers, 1 to [MaxWorkers], or [Config.Min] to
// [Config.Max] in an app that scales by itself. New ones get
// connections when they are ready, and it returns then. When there are too
// many, those with the fewest connections go, as in [Supervisor.Reload].
func (s *Supervisor) Scale(ctx context.Context, workers int, say func(string)) error {
	if err := s.config.mayScale(workers); err != nil {
		return err
	}
	return s.change(ctx, say, func(g *goal) {
		if g.workers != workers {
			say(fmt.Sprintf("from %d workers to %d", g.workers, workers))
		}
		g.workers = workers
	})
}

// Configure is [Supervisor.Scale] for good: who takes the app over later finds it
// as if it had been started with so many workers, 0 for [AutoWorkers].
func (s *Supervisor) Configure(ctx context.Context, workers int, say func(string)) error {
	if workers == 0 {
		var err error
		if workers, err = AutoWorkers(); err != nil {
			return err
		}
	}
	if err := s.config.mayScale(workers); err != nil {
		return err
	}
	s.aim(func(g *goal) { g.configured = workers })
	return s.Scale(ctx, workers, say)
}

// change alters the goal and brings the crew there. There is one change at a
// time; others wait for it.
func (s *Supervisor) change(ctx context.Context, say func(string), alter func(*goal)) error {
	select {
	case s.changing <- struct{}{}:
	default:
		say("waiting for the end of another change")
		select {
		case s.changing <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.urgency.at(stopping):
			return s.whyEnding()
		}
	}
	defer func() { <-s.changing }()
	if s.urgency.is(stopping) || !s.manned.Load() {
		return s.whyEnding()
	}
	s.aim(alter)
	err := s.converge(say)
	if errors.Is(err, ErrEnding) {
		return s.whyEnding() // another supervisor may go on with it
	}
	if err != nil {
		s.backOut(say)
	}
	s.aim(func(g *goal) { s.settle(g, err) })
	return err
}

// aim changes the goal, and has it remembered.
func (s *Supervisor) aim(alter func(*goal)) {
	s.mu.Lock()
	alter(&s.goal)
	s.mu.Unlock()
	s.save()
}

func (s *Supervisor) aims() goal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.goal
}

// backOut lets go what a change that failed leaves too many: the new workers of
// a reload of all at once, one of which didn't get ready.
func (s *Supervisor) backOut(say func(string)) {
	goal, now := s.aims(), s.muster()
	newest := slices.Concat(now.starting, now.new)
	if surplus := len(now.all()) - goal.workers; surplus > 0 {
		s.dismissAll(newest[:min(surplus, len(newest))], say)
	}
}

// settle ends a change. One that failed leaves things as they are.
func (s *Supervisor) settle(g *goal, err error) {
	g.reloading, g.atOnce = false, false
	if err != nil {
		g.workers = max(1, len(s.crew.staying()))
	}
}

// converge brings the crew to the goal, wherever it is on the way: a supervisor
// that takes over begins in the middle.
func (s *Supervisor) converge(say func(string)) error {
	for {
		if s.urgency.is(stopping) {
			return ErrEnding
		}
		goal, now := s.aims(), s.muster()
		surplus := len(now.all()) - goal.workers
		var err error
		switch {
		case len(now.starting) > 0:
			err = s.awaitAll(now.starting, say)
		case surplus < 0:
			err = s.hireAll(make([]*worker, -surplus), say)
		case surplus > 0 && len(now.old) > 0:
			s.dismissAll(s.replaced(now, surplus), say)
		case surplus > 0:
			s.dismissAll(s.idlest(now.new, surplus), say)
		case len(now.old) == 0:
			return nil
		case goal.atOnce:
			err = s.hireAll(now.old, say)
		default:
			err = s.hireAll(now.old[:1], say)
		}
		if err != nil {
			return err
		}
	}
}

// ranks are the workers that stay, by how far they are.
type ranks struct {
	old      []*worker // of an earlier generation than wanted; only in a reload
	new      []*worker // of the wanted one, and ready or once so
	starting []*worker // newcomers that aren't ready yet
}

func (r ranks) all() []*worker { return slices.Concat(r.old, r.new, r.starting) }

func (s *Supervisor) muster() ranks {
	goal := s.aims()
	var r ranks
	for _, w := range s.crew.staying() {
		switch {
		case w.onTrial():
			r.starting = append(r.starting, w)
		case goal.reloading && w.generation < goal.generation:
			r.old = append(r.old, w)
		default:
			r.new = append(r.new, w)
		}
	}
	return r
}

// replaced returns n old workers that have a successor by now.
func (s *Supervisor) replaced(now ranks, n int) []*worker {
	var going []*worker
	for _, w := range now.new {
		if slices.Contains(now.old, w.replaces) {
			going = append(going, w.replaces)
		}
	}
	for _, w := range now.old {
		if !slices.Contains(going, w) {
			going = append(going, w)
		}
	}
	return going[:min(n, len(going))]
}

// idlest returns the n workers with the fewest connections.
func (s *Supervisor) idlest(workers []*worker, n int) []*worker {
	traffic, err := s.steering.Traffic()
	if err != nil {
		s.log.Error(fmt.Sprintf("find the workers with the fewest connections: %v", err))
	}
	workers = slices.Clone(workers)
	slices.SortStableFunc(workers, func(a, b *worker) int {
		return cmp.Or(cmp.Compare(traffic[a.slot].Connections, traffic[b.slot].Connections), b.slot-a.slot)
	})
	return workers[:min(n, len(workers))]
}

// hireAll starts a newcomer for each of the predecessors, nil for none, and
// waits for all of them, also for one that dies at once.
func (s *Supervisor) hireAll(predecessors []*worker, say func(string)) error {
	if free := s.crew.slots - len(s.crew.all()); free < len(predecessors) {
		return fmt.Errorf("%d new workers need as many slots, and %d of %d are free: wait for old workers "+
			"that finish their connections, or reload them one after the other", len(predecessors), free, s.crew.slots)
	}
	var newcomers []*worker
	for _, old := range predecessors {
		w, err := s.hire(old)
		if err != nil {
			return err
		}
		newcomers = append(newcomers, w)
		if old == nil {
			say(fmt.Sprintf("worker %d starts (pid %d)", w.slot, w.pid()))
		} else {
			say(fmt.Sprintf("worker %d starts (pid %d) in place of %d", w.slot, w.pid(), old.slot))
		}
	}
	return s.awaitAll(newcomers, say)
}

// hire starts one newcomer.
func (s *Supervisor) hire(replaces *worker) (*worker, error) {
	w, err := s.enlist(func(w *worker) {
		w.newcomer, w.replaces = true, replaces
		if replaces != nil {
			w.cpu = replaces.cpu
		}
	})
	if err == nil {
		s.save()
	}
	return w, err
}

// enlist starts a worker in a free slot. Somebody else may see it as soon as it
// is in the crew, so before that it is shaped.
func (s *Supervisor) enlist(shape func(*worker)) (*worker, error) {
	cpu, generation := s.freestCPU(), s.aims().generation
	w, err := s.crew.hire(func(slot int) *worker {
		w := newWorker(s, slot, generation)
		w.cpu = cpu
		shape(w)
		return w
	})
	if err != nil {
		return nil, err
	}
	started, err := w.start()
	if err == nil && !started {
		err = ErrEnding // the app is another supervisor's
	}
	if err != nil {
		w.retire()
		s.crew.remove(w)
		close(w.done)
		return nil, err
	}
	go w.supervise(s.lives)
	return w, nil
}

// awaitAll returns when all newcomers are ready, or ends those that aren't and
// returns the first one's failure.
func (s *Supervisor) awaitAll(newcomers []*worker, say func(string)) error {
	failed := make([]error, len(newcomers))
	var group sync.WaitGroup
	for i, w := range newcomers {
		group.Go(func() {
			if failed[i] = s.awaitReady(w); failed[i] == nil {
				say(fmt.Sprintf("worker %d is ready (pid %d)", w.slot, w.pid()))
			}
		})
	}
	group.Wait()
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}
