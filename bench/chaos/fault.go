package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/ledger"
)

// faults are what happens to workers.
var faults = lane{every: 1500 * time.Millisecond, deeds: []deed{
	{"kill -9 of a worker", 6, onApp((*app).killWorker)},
	{"stop a worker", 6, onApp((*app).stopWorker)},
	{"kill -9 of a stopped worker", 2, onApp((*app).killStopped)},
	{"hang a worker", 3, onApp((*app).hangWorker)},
}}

// onApp is a deed that is only for apps.
func onApp(do func(*app, event) error) func(subject, event) error {
	return func(x subject, e event) error { return do(x.(*app), e) }
}

// enough is how many workers must be live for one to be killed or to hang for
// good: the others have to take its queue, and one of these may be retiring.
const enough = 3

func (a *app) killWorker(e event) error {
	w, err := a.chooseLive(e, enough)
	if err != nil {
		return err
	}
	return a.kill(w, "kill -9")
}

func (a *app) kill(w worker, how string) error {
	k, err := ledger.KillWorker(w.PID)
	if err != nil {
		return &skipError{err.Error()}
	}
	why := fmt.Sprintf("%s of worker %d (pid %d) at %.3f s", how, w.Slot, w.PID, a.since(k.Sent))
	a.blame(killing{k, why})
	a.write(a.name, "%s of worker %d (pid %d)", how, w.Slot, w.PID)
	return nil
}

// blame notes what may cost connections.
func (a *app) blame(k killing) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.kills = append(a.kills, k)
}

func (a *app) stopWorker(e event) error {
	w, err := a.chooseLive(e, 1)
	if err != nil {
		return err
	}
	length := e.between(100*time.Millisecond, 3*time.Second)
	a.write(a.name, "SIGSTOP of worker %d (pid %d) for %v", w.Slot, w.PID, length.Round(time.Millisecond))
	goOn := stop(w.PID)
	a.sleep(length)
	goOn()
	a.write(a.name, "SIGCONT of worker %d (pid %d)", w.Slot, w.PID)
	return nil
}

// stop stops a process; the result lets the same one go on.
func stop(pid int) (goOn func()) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return func() {} // it has ended
	}
	_ = unix.PidfdSendSignal(fd, unix.SIGSTOP, nil, 0)
	return func() {
		_ = unix.PidfdSendSignal(fd, unix.SIGCONT, nil, 0)
		_ = unix.Close(fd)
	}
}

func (a *app) killStopped(e event) error {
	w, err := a.chooseLive(e, enough)
	if err != nil {
		return err
	}
	length := e.between(100*time.Millisecond, 2*time.Second)
	a.write(a.name, "SIGSTOP of worker %d (pid %d)", w.Slot, w.PID)
	goOn := stop(w.PID)
	defer goOn()
	a.sleep(length)
	return a.kill(w, fmt.Sprintf("kill -9, stopped for %v,", length.Round(time.Millisecond)))
}

// endWithinHang bounds the life of a worker that hangs for good: --hang-after,
// --hang-grace, and what a busy machine adds.
const endWithinHang = 30 * time.Second

// waitsFor tells whether connections wait to be accepted by the worker.
func (a *app) waitsFor(w worker) bool {
	_, groups, err := a.find()
	if err != nil {
		return false
	}
	for _, g := range groups {
		for _, s := range g.Slots {
			if s.PID == w.PID && s.Backlog != nil && *s.Backlog > 0 {
				return true
			}
		}
	}
	return false
}

// hangWorker has the worker do what its environment says: be busy for a while,
// or never accept again, until the supervisor kills it for that.
func (a *app) hangWorker(e event) error {
	least := 1
	if a.profile.hangsForGood {
		least = enough
	}
	w, err := a.chooseLive(e, least)
	if err != nil {
		return err
	}
	if err := unix.Kill(w.PID, unix.SIGUSR2); err != nil {
		return &skipError{err.Error()}
	}
	begin := ledger.Now()
	a.write(a.name, "worker %d (pid %d) hangs: %s", w.Slot, w.PID, a.profile.environment[0])
	if !a.profile.hangsForGood {
		return nil
	}
	a.blame(killing{ledger.Kill{PID: w.PID, Sent: begin}, fmt.Sprintf("worker %d (pid %d) hung for good since %.3f s", w.Slot, w.PID, a.since(begin))})
	seen := 0 // how often in a row somebody waited for it
	for deadline := time.Now().Add(a.slow(endWithinHang)); time.Now().Before(deadline); a.sleep(time.Second) {
		if unix.Kill(w.PID, 0) != nil || a.ctx.Err() != nil {
			return nil
		}
		if seen++; !a.waitsFor(w) {
			seen = 0
		}
	}
	if seen > 3 {
		return fmt.Errorf("worker %d (pid %d) hangs for good, and still is there after %v", w.Slot, w.PID, endWithinHang)
	}
	// With the load at rest nobody comes to it, and so nothing shows that it hangs.
	return a.kill(w, "kill -9, as nobody waits for it and so it isn't seen to hang,")
}
