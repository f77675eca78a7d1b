package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/sockdist/sockdist/userspace/control"
)

// supervised adds to an app what only its supervisor knows, and wrote down. It
// isn't there for an app without a runtime folder.
func (a *appStatus) supervised(runtimeDir string) {
	state, err := control.ReadState(runtimeDir, a.Name)
	if err != nil {
		return
	}
	a.Wanted, a.Reloading = state.Wanted, state.Reloading
	for _, known := range state.Workers {
		i := slices.IndexFunc(a.Workers, func(w workerStatus) bool { return w.Slot == known.Slot })
		if i < 0 { // it listens nowhere yet
			a.Workers = append(a.Workers, workerStatus{Slot: known.Slot, PID: known.PID, Process: processName(known.PID, known.Start), State: known.Stage})
			i = len(a.Workers) - 1
		}
		w := &a.Workers[i]
		w.Stage, w.Generation, w.Starts, w.LastExit, w.LastEnd = known.Stage, known.Generation, known.Starts, known.LastExit, known.LastEnd
	}
	slices.SortFunc(a.Workers, func(x, y workerStatus) int { return x.Slot - y.Slot })
}

// remarks are what an operator should know of the app's workers.
func (a appStatus) remarks() (lines []string) {
	if a.Wanted != 0 && a.Wanted != a.staying() {
		lines = append(lines, fmt.Sprintf("%s wanted", count(a.Wanted, "worker")))
	}
	if a.Reloading {
		lines = append(lines, "a reload is under way")
	}
	for _, w := range a.Workers {
		if w.LastExit != "" && w.LastEnd != nil {
			lines = append(lines, fmt.Sprintf("worker %d was started %s: before, at %s, it %s",
				w.Slot, count(w.Starts, "time"), w.LastEnd.Local().Format(time.DateTime), w.LastExit))
		}
	}
	return lines
}

func (a appStatus) staying() (n int) {
	for _, w := range a.Workers {
		if w.Stage != control.StageLeaving {
			n++
		}
	}
	return n
}
