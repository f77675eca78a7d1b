package control

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/userspace/control/output"
)

// worker is what runs in one slot: a process, and after its death the next.
type worker struct {
	app  *Supervisor
	slot int

	retired chan struct{} // closed: it starts no more
	done    chan struct{} // closed: retired, and nothing lives in the leaf

	mu      sync.Mutex
	leaf    *cgroup.Leaf // another one each time
	process *process     // the main process, or the last one
	run     output.Run
	born    time.Time
	starts  int
	pause   backoff
	record  record
}

func newWorker(app *Supervisor, slot int) *worker {
	return &worker{app: app, slot: slot, retired: make(chan struct{}), done: make(chan struct{})}
}

// start starts the main process, straight in the leaf. It returns false when
// the worker is retired.
func (w *worker) start() (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.isRetired() {
		return false, nil
	}
	leaf, err := w.app.tree.Leaf(strconv.Itoa(w.slot))
	if err != nil {
		return false, err
	}
	w.leaf = leaf // before the process can listen
	into, err := leaf.Open()
	if err != nil {
		return false, err
	}
	defer into.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return false, fmt.Errorf("start worker %d: %w", w.slot, err)
	}
	defer null.Close()
	pipes, err := w.app.outlet.attach(w.slot, w.app.account)
	if err != nil {
		return false, err
	}

	started, err := start(program{
		path:        w.app.path,
		args:        w.app.config.Command,
		environment: w.app.workerEnvironment(w.slot),
		files:       []*os.File{null, pipes.stdout, pipes.stderr},
		cgroup:      into,
		who:         w.app.account,
		cpu:         w.app.cpuOf(w.slot),
	})
	pipes.close()
	if err != nil {
		w.app.outlet.detach(pipes.run)
		return false, err
	}
	w.process, w.run, w.born = started, pipes.run, time.Now()
	w.starts++
	return true, nil
}

// supervise keeps a worker, which was started once, running until it is
// retired and its leaf is empty. The context is for giving up on processes
// that can't be killed.
func (w *worker) supervise(ctx context.Context) {
	defer close(w.done)
	for {
		w.app.judge(w.outlive(ctx))
		if !w.startAgain() {
			return
		}
	}
}

// startAgain starts the worker after a pause, and again if that fails. It
// returns false when the worker is retired.
func (w *worker) startAgain() bool {
	for {
		w.mu.Lock()
		pause := w.pause.after(time.Since(w.born))
		w.mu.Unlock()
		select {
		case <-w.retired:
			return false
		case <-time.After(pause):
		}
		started, err := w.start()
		if err == nil {
			if started {
				w.app.log.Info(fmt.Sprintf("worker %d runs again (pid %d)", w.slot, w.pid()))
			}
			return started
		}
		w.app.log.Error(fmt.Sprintf("worker %d doesn't start again: %v", w.slot, err))
	}
}

// retire keeps the worker from being started again.
func (w *worker) retire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.isRetired() {
		close(w.retired)
	}
}

func (w *worker) isRetired() bool {
	select {
	case <-w.retired:
		return true
	default:
		return false
	}
}

// home returns the leaf, or nil before the first start.
func (w *worker) home() *cgroup.Leaf {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.leaf
}

// current returns the main process, which may have ended, and its run.
func (w *worker) current() (*process, output.Run, time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.process, w.run, w.born
}

func (w *worker) pid() int { return w.status().PID }

func (w *worker) status() WorkerStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	status := WorkerStatus{Slot: w.slot, Starts: w.starts, Since: w.born}
	if w.process != nil {
		status.PID, status.Running = w.process.pid, !w.process.isDone()
	}
	return status
}

// signalMain sends a signal to the main process.
func (w *worker) signalMain(sig unix.Signal) {
	p, _, _ := w.current()
	if err := p.signal(sig); err != nil {
		w.app.log.Error(err.Error())
	}
}

// signalOthers sends a signal to every process in the leaf but the main one.
func (w *worker) signalOthers(sig unix.Signal) {
	pids, err := w.home().Procs()
	if err != nil {
		w.app.log.Error(err.Error())
	}
	main, _, _ := w.current()
	for _, pid := range pids {
		if pid != main.pid {
			_ = unix.Kill(pid, sig)
		}
	}
}
