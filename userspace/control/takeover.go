package control

import (
	"errors"
	"fmt"
	"slices"
)

// takeOver makes the survivors the crew, as far as they were.
func (s *Supervisor) takeOver(found *legacy) {
	s.inCharge = true
	s.takeGoal(found)
	if len(found.workers) == 0 {
		return
	}
	kept := found.slots()
	if len(s.standby) > 0 {
		kept = append(kept, standbySlot)
	}
	if err := s.steering.Keep(kept); err != nil {
		s.log.Error(fmt.Sprintf("free the slots of workers that are gone: %v", err))
	}
	traffic, err := s.steering.Traffic()
	if err != nil {
		s.log.Error(fmt.Sprintf("ask for the workers' slots: %v", err))
	}
	var pids []int
	for _, heir := range found.workers {
		w := s.adoptWorker(heir, traffic[heir.slot].Held)
		s.crew.add(w)
		pids = append(pids, w.pid())
	}
	for _, w := range s.crew.all() {
		if !isClosed(w.life.ready) {
			s.background.Go(func() { s.welcome(w, w.life) })
		}
		go w.supervise(s.lives)
	}
	s.log.Info(fmt.Sprintf("took over %d workers (pids %s)", len(pids), joinNumbers(pids)))
	s.mentionCommand(found)
}

// adoptWorker makes a worker of a survivor. What the kernel holds back tells
// how far it was if nothing else does.
func (s *Supervisor) adoptWorker(heir survivor, held Hold) *worker {
	w := newWorker(s, heir.slot, heir.saved.Generation)
	w.cpu, w.newcomer, w.life = heir.saved.CPU, heir.saved.Newcomer, heir.life
	w.starts = max(1, heir.saved.Starts)
	w.record.listened = true
	starting := heir.saved.Stage == StageStarting || heir.saved.Stage == "" && held&Starting != 0
	if !starting {
		close(heir.life.ready)
	}
	if heir.saved.Stage == StageLeaving || held&Leaving != 0 {
		close(w.retired)
	}
	return w
}

// takeGoal goes on with what was wanted. The number of workers on the command
// line counts if it isn't the one that the earlier supervisor was started with.
func (s *Supervisor) takeGoal(found *legacy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(found.workers) == 0 || found.state.Wanted == 0 {
		return
	}
	s.goal.generation = max(0, found.state.Generation)
	for _, heir := range found.workers { // whatever the file says: a reload replaces all of them
		s.goal.generation = max(s.goal.generation, heir.saved.Generation)
	}
	s.goal.reloading, s.goal.atOnce = found.state.Reloading, found.state.AtOnce
	if found.state.Configured == s.goal.configured {
		s.goal.workers = found.state.Wanted
	}
}

func (s *Supervisor) mentionCommand(found *legacy) {
	if !s.config.EndOnly && found.state.Command != nil && !slices.Equal(found.state.Command, s.config.Command) {
		s.log.Warn(fmt.Sprintf("these workers run another command than is wanted now: sockdist reload %s replaces them", s.config.Name))
	}
}

// resume goes on with what the earlier supervisor was at.
func (s *Supervisor) resume() {
	for _, w := range s.crew.all() {
		if w.isRetired() {
			s.departures.Go(func() { s.depart(w) })
		}
	}
	wanted := s.aims()
	now := s.muster()
	if !wanted.reloading && len(now.starting) == 0 && len(now.all()) == wanted.workers {
		return
	}
	if s.config.EndOnly {
		return
	}
	s.background.Go(func() {
		s.log.Info("going on with a change that was under way")
		err := s.change(s.lives, func(text string) { s.log.Info(text) }, func(*goal) {})
		if err != nil && !errors.Is(err, ErrEnding) && s.lives.Err() == nil {
			s.log.Error(err.Error())
		}
	})
}

// leavesWorkers tells whether there are workers that aren't ours: not yet, or
// not any more.
func (s *Supervisor) leavesWorkers(found *legacy) bool {
	return !s.inCharge && (len(found.workers) > 0 || s.manned.Load())
}

// removeTree leaves the cgroups of workers that nobody took over.
func (s *Supervisor) removeTree(found *legacy) error {
	if s.leavesWorkers(found) {
		return nil
	}
	return s.tree.Remove()
}
