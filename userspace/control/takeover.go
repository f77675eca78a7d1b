package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/userspace/sockets"
	"github.com/sockdist/sockdist/userspace/wire"
)

const (
	// leavePatience is how long a supervisor has to leave its app to another.
	leavePatience = 10 * time.Second
	// killedPatience is far more than the lock of one that was killed outlives
	// it: a worker that it was just starting has it until its exec.
	killedPatience = time.Second
)

// A supervisor that was killed leaves its workers, each in its leaf. The next
// one takes them over: who lives in the leaf of slot 3 is worker 3, whatever
// else is known. That can't be anybody else's process, as a number out of a
// file could be. The state file tells what the leaves don't: which process is
// the main one, how far each worker was, and whether a change was under way.

// ErrHandedOver is what Run returns when another supervisor took the app over.
var ErrHandedOver = errors.New("handed over to another supervisor")

// askToLeave has the app's present supervisor, if there is one, end and leave
// its workers.
func (s *Supervisor) askToLeave() error {
	ctx, cancel := context.WithTimeout(context.Background(), leavePatience)
	defer cancel()
	err := wire.Call(ctx, Socket(s.config.RuntimeDir, s.config.Name), wire.Request{Verb: wire.Leave}, nil)
	if errors.Is(err, wire.ErrNobody) || errors.Is(err, wire.ErrGone) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("take over from the present supervisor of app %s: %w", s.config.Name, err)
	}
	return nil
}

// createTree takes the app's lock. A supervisor that was asked to leave has it
// until the end of its process.
func (s *Supervisor) createTree(mount *cgroup.Mount) (tree *cgroup.Tree, err error) {
	patience := killedPatience
	if s.config.TakeOver {
		if err := s.askToLeave(); err != nil {
			return nil, err
		}
		patience = leavePatience
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(welcomeEvery) {
		tree, err = mount.Create(s.config.Name)
		if !errors.Is(err, cgroup.ErrInUse) {
			return tree, err
		}
		if time.Now().After(deadline) {
			break
		}
	}
	if !s.config.TakeOver {
		err = fmt.Errorf("%w (to replace that supervisor and keep its workers, add --take-over)", err)
	}
	return nil, err
}

// legacy is what an earlier supervisor left.
type legacy struct {
	state   State // the zero value if it can't be read
	workers []survivor
}

// survivor is a worker that runs.
type survivor struct {
	slot  int
	life  *life
	saved WorkerState
}

// leaves returns the IDs of the survivors' leaves.
func (l *legacy) leaves() map[uint64]bool {
	ids := make(map[uint64]bool)
	for _, w := range l.workers {
		ids[w.life.leaf.ID()] = true
	}
	return ids
}

// slots returns those of the survivors.
func (l *legacy) slots() []int {
	slots := []int{}
	for _, w := range l.workers {
		slots = append(slots, w.slot)
	}
	return slots
}

// inherit looks for the workers of an earlier supervisor.
func (s *Supervisor) inherit() (*legacy, error) {
	found := new(legacy)
	entries, err := os.ReadDir(s.tree.Path())
	if err != nil {
		return nil, fmt.Errorf("look for workers of an earlier sockdist: %w", err)
	}
	saved, err := ReadState(s.config.RuntimeDir, s.config.Name)
	if err == nil {
		found.state = *saved
	}
	for _, entry := range entries {
		slot, err := strconv.Atoi(entry.Name())
		if !entry.IsDir() || err != nil || slot < 0 || slot >= MaxWorkers {
			continue
		}
		w, err := s.survivorIn(slot, found.state.Workers)
		if err != nil {
			return nil, err
		}
		if w != nil {
			found.workers = append(found.workers, *w)
		}
	}
	slices.SortFunc(found.workers, func(a, b survivor) int { return a.slot - b.slot })
	if len(found.workers) > 0 && saved == nil {
		s.log.Warn(fmt.Sprintf("workers run, but what is known of them can't be read: %v", err))
	}
	return found, nil
}

// survivorIn returns nil for a leaf in which nobody lives.
func (s *Supervisor) survivorIn(slot int, saved []WorkerState) (*survivor, error) {
	leaf, err := s.tree.Leaf(strconv.Itoa(slot))
	if err != nil {
		return nil, err
	}
	pids, err := leaf.Procs()
	if err != nil || len(pids) == 0 {
		return nil, err
	}
	w := &survivor{slot: slot, saved: WorkerState{Slot: slot, CPU: -1}}
	for _, state := range saved {
		// What was written down of an earlier process tells nothing: a supervisor
		// that couldn't write may have started this one.
		if state.Slot == slot && (state.Leaf == 0 || state.Leaf == leaf.ID()) {
			w.saved = state
		}
	}
	if err := leaf.Thaw(); err != nil { // the other may have been at a rescue
		return nil, err
	}
	process, err := inheritMain(leaf, pids, w.saved)
	if err != nil {
		return nil, fmt.Errorf("take over worker %d: %w", slot, err)
	}
	if process == nil {
		return nil, nil // all of them ended meanwhile
	}
	born := w.saved.Since
	if born.IsZero() {
		born = time.Now()
	}
	w.life = &life{leaf: leaf, process: process, born: born, ready: make(chan struct{})}
	return w, nil
}

// inheritMain opens the main process of a leaf: the one that was written down,
// which may be dead, or else the oldest. It returns nil when nobody is left.
func inheritMain(leaf *cgroup.Leaf, pids []int, saved WorkerState) (*process, error) {
	type candidate struct {
		pid   int
		began uint64
	}
	var oldest *candidate
	for _, pid := range pids {
		began, err := sockets.StartTime(pid)
		if err != nil {
			continue // it has just ended
		}
		if pid == saved.PID && began == saved.Start {
			return openProcess(leaf, pid, began)
		}
		// A process that started before the main one can't be its child.
		if oldest == nil || began < oldest.began || began == oldest.began && pid < oldest.pid {
			oldest = &candidate{pid, began}
		}
	}
	switch {
	case oldest == nil:
		return nil, nil
	case saved.PID != 0 && oldest.began >= saved.Start:
		return endedProcess(saved.PID, saved.Start), nil
	}
	return openProcess(leaf, oldest.pid, oldest.began)
}

// openProcess is sure that it has the process which lives in the leaf.
func openProcess(leaf *cgroup.Leaf, pid int, began uint64) (*process, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return endedProcess(pid, began), nil
	}
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	p := &process{
		pid: pid, began: began, file: os.NewFile(uintptr(fd), fmt.Sprintf("pidfd of %d", pid)),
		done: make(chan struct{}), stranger: true,
	}
	now, err := sockets.StartTime(pid)
	pids, listErr := leaf.Procs()
	if err != nil || listErr != nil || now != began || !slices.Contains(pids, pid) {
		_ = p.file.Close()
		return endedProcess(pid, began), nil
	}
	go p.wait()
	return p, nil
}

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
	if found.state.Configured == s.config.Workers {
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
		if err != nil && !errors.Is(err, ErrEnding) {
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
	err := s.tree.Remove()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
