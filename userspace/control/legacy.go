package control

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/cgroup"
	ownfolder "github.com/sockdist/sockdist/internal/folder"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// A supervisor that was killed leaves its workers, each in its leaf. The next
// one takes them over: who lives in the leaf of slot 3 is worker 3, whatever
// else is known. That can't be anybody else's process, as a number out of a
// file could be. The state file tells what the leaves don't: which process is
// the main one, how far each worker was, and whether a change was under way.

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
	if err == nil && ownfolder.Check(appFolder(s.config.RuntimeDir, s.config.Name)) == nil {
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
	if p := children.known(pid, began); p != nil {
		return p, nil
	}
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
	children.adopt(p)
	return p, nil
}
