package control

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// A worker that dies within earlyLife of its start, earlyDeaths times in a
	// row, and never listened, is one that doesn't start.
	earlyLife   = 3 * time.Second
	earlyDeaths = 3
)

// record is what a worker's lives so far say about its chances.
type record struct {
	listened bool // ever
	early    int  // deaths soon after the start, in a row
}

// heard notes that the worker listened.
func (w *worker) heard() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.record.listened = true
}

// chances returns the record.
func (w *worker) chances() record {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.record
}

// death is the end of a worker's main process, and of all that it left.
type death struct {
	slot   int
	exit   exit
	output []string
	age    time.Duration
	at     time.Time
}

// outlive waits for the end of the main process, and ends what it leaves in
// its leaf. The listeners of dead processes are gone, and with them their
// picks: their slot waits for the next process, unless there won't be any.
func (w *worker) outlive(ctx context.Context) death {
	l := w.current()
	select {
	case <-l.process.done:
	case <-ctx.Done():
		return death{slot: w.slot, exit: exit{unknown: true}}
	}
	d := death{slot: w.slot, exit: l.process.exit, age: time.Since(l.born), at: time.Now()}
	d.exit.outOfMemory = w.app.ranOutOfMemory(l.leaf)
	if w.onTrial() {
		w.retire()
	}
	w.report(d, l)

	if left, err := l.leaf.Procs(); err == nil && len(left) > 0 {
		w.clear(d.exit, left)
	}
	if err := l.leaf.WaitEmpty(ctx); err != nil {
		w.app.log.Error(err.Error())
	}
	d.output = w.app.outlet.detach(l.run)
	w.note(d)
	return d
}

func (w *worker) report(d death, l *life) {
	text := fmt.Sprintf("worker %d (pid %d) %s after %v", w.slot, l.process.pid, d.exit, d.age.Round(time.Millisecond))
	if w.isRetired() && !d.exit.outOfMemory {
		w.app.log.Debug(text)
		return
	}
	w.app.log.Warn(text)
}

// clear ends what the main process left.
func (w *worker) clear(how exit, left []int) {
	if w.isRetired() {
		w.signalOthers(unix.SIGTERM)
		return
	}
	why := ""
	if how.isSuccess() {
		why = "; if the server puts itself into the background, tell it to stay in the foreground"
	}
	w.app.log.Warn(fmt.Sprintf("worker %d left processes behind (pids %s), which are killed now%s",
		w.slot, joinNumbers(left), why))
	if err := w.home().Kill(); err != nil {
		w.app.log.Error(err.Error())
	}
}

func (w *worker) note(d death) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.death = &d
	if d.age < earlyLife {
		w.record.early++
	} else {
		w.record.early = 0
	}
}

// lastDeath returns how the worker died last, or nil.
func (w *worker) lastDeath() *death {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.death
}

// judge ends the app when no worker has a chance to start.
func (s *Supervisor) judge(d death) {
	staying := s.crew.staying()
	for _, w := range staying {
		if c := w.chances(); c.listened || c.early < earlyDeaths {
			return
		}
	}
	if len(staying) > 0 {
		s.fail(&StartError{Slot: d.slot, Exit: d.exit.String(), Output: d.output})
	}
}
