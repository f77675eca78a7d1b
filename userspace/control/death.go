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
}

// outlive waits for the end of the main process, and ends what it leaves in
// its leaf. The listeners of dead processes are gone, and with them their
// picks: their slot waits for the next process, unless there won't be any.
func (w *worker) outlive(ctx context.Context) death {
	main, run, born := w.current()
	select {
	case <-main.done:
	case <-ctx.Done():
		return death{slot: w.slot, exit: exit{unknown: true}}
	}
	life := time.Since(born)
	w.report(main, life)

	if left, err := w.home().Procs(); err == nil && len(left) > 0 {
		w.clear(main, left)
	}
	if err := w.home().WaitEmpty(ctx); err != nil {
		w.app.log.Error(err.Error())
	}
	if w.isRetired() {
		w.app.listeners.release(w.slot)
	}
	w.note(life)
	return death{slot: w.slot, exit: main.exit, output: w.app.outlet.detach(run)}
}

func (w *worker) report(main *process, life time.Duration) {
	text := fmt.Sprintf("worker %d (pid %d) %s after %v", w.slot, main.pid, main.exit, life.Round(time.Millisecond))
	if w.isRetired() {
		w.app.log.Debug(text)
		return
	}
	w.app.log.Warn(text)
}

// clear ends what the main process left.
func (w *worker) clear(main *process, left []int) {
	if w.isRetired() {
		w.signalOthers(unix.SIGTERM)
		return
	}
	why := ""
	if main.exit.isSuccess() {
		why = "; if the server puts itself into the background, tell it to stay in the foreground"
	}
	w.app.log.Warn(fmt.Sprintf("worker %d left processes behind (pids %s), which are killed now%s",
		w.slot, joinNumbers(left), why))
	if err := w.home().Kill(); err != nil {
		w.app.log.Error(err.Error())
	}
}

func (w *worker) note(life time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if life < earlyLife {
		w.record.early++
	} else {
		w.record.early = 0
	}
}

// judge ends the app when no worker has a chance to start.
func (s *Supervisor) judge(d death) {
	for _, w := range s.workers {
		if c := w.chances(); c.listened || c.early < earlyDeaths {
			return
		}
	}
	s.fail(&StartError{Slot: d.slot, Exit: d.exit.String(), Output: d.output})
}
