package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/userspace/control/output"
)

// worker is what runs in one slot: a process, and after its death the next.
type worker struct {
	app        *Supervisor
	slot       int
	generation int
	cpu        int // that it is pinned to, or -1

	// newcomer is a worker that joins others. Until it has proved itself by
	// getting ready once, its death is its end.
	newcomer bool
	proved   atomic.Bool
	// replaces is the worker that goes when this one is ready, if it is known.
	replaces *worker

	retired chan struct{} // closed: it starts no more
	done    chan struct{} // closed: retired, and nothing lives in the leaf

	mu     sync.Mutex
	life   *life // the present one, or the last
	starts int
	pause  backoff
	record record
	death  *death // the last one
}

// life is one process of a worker, with all that it starts.
type life struct {
	leaf    *cgroup.Leaf // another one each time
	process *process
	run     output.Run
	born    time.Time
	ready   chan struct{} // closed when it gets connections
}

func newWorker(app *Supervisor, slot, generation int) *worker {
	return &worker{
		app: app, slot: slot, generation: generation, cpu: -1,
		retired: make(chan struct{}), done: make(chan struct{}),
	}
}

// start starts the main process, straight in the leaf. It returns false when
// the worker is retired.
func (w *worker) start() (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.isRetired() || isClosed(w.app.left) {
		return false, nil
	}
	leaf, err := w.app.tree.Leaf(strconv.Itoa(w.slot))
	if errors.Is(err, fs.ErrNotExist) {
		w.app.fail(fmt.Errorf("cgroup %s was removed while no worker lived in it, and the app's hooks with it: start the app again: %w", w.app.tree.Path(), err))
	}
	if err != nil {
		return false, err
	}
	if err := w.app.limit(leaf); err != nil {
		return false, err
	}
	// Whoever asks for the life waits until it is there: a process may listen
	// before its start is over.
	l := &life{leaf: leaf, born: time.Now(), ready: make(chan struct{})}
	if err := w.fork(l); err != nil {
		return false, err
	}
	w.life = l
	w.starts++
	w.app.background.Go(func() { w.app.welcome(w, l) })
	return true, nil
}

// fork starts the process of a life.
func (w *worker) fork(l *life) error {
	into, err := l.leaf.Open()
	if err != nil {
		return err
	}
	defer into.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return fmt.Errorf("start worker %d: %w", w.slot, err)
	}
	defer null.Close()
	pipes, err := w.app.outlet.attach(w.slot, w.app.account)
	if err != nil {
		return err
	}
	defer pipes.close()
	started, err := start(program{
		path:        w.app.path,
		args:        w.app.config.Command,
		environment: w.app.workerEnvironment(w.slot),
		files:       []*os.File{null, pipes.stdout, pipes.stderr},
		cgroup:      into,
		who:         w.app.account,
		cpu:         w.cpu,
	})
	if err != nil {
		w.app.outlet.detach(pipes.run)
		return err
	}
	l.process, l.run = started, pipes.run
	return nil
}

// supervise keeps a worker, which was started once, running until it is
// retired and its leaf is empty. The context is for giving up on processes
// that can't be killed.
func (w *worker) supervise(ctx context.Context) {
	defer close(w.done)
	defer w.app.save()
	defer w.app.crew.remove(w)
	for {
		d := w.outlive(ctx)
		if isClosed(w.app.left) {
			return
		}
		w.app.judge(d)
		w.app.save()
		if !w.startAgain() {
			if isClosed(w.app.left) {
				return
			}
			w.app.listeners.release(w.slot)
			return
		}
		w.app.save()
	}
}

// startAgain starts the worker after a pause, and again if that fails. It
// returns false when the worker is retired.
func (w *worker) startAgain() bool {
	for {
		w.mu.Lock()
		pause := w.pause.after(w.death.age)
		w.mu.Unlock()
		select {
		case <-w.retired:
			return false
		case <-w.app.left:
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

func (w *worker) isRetired() bool { return isClosed(w.retired) }

// onTrial tells whether the worker is a newcomer that was never ready.
func (w *worker) onTrial() bool { return w.newcomer && !w.proved.Load() }

// isReady tells whether the worker gets connections.
func (w *worker) isReady() bool {
	l := w.current()
	return l != nil && isClosed(l.ready)
}

// home returns the leaf, or nil before the first start.
func (w *worker) home() *cgroup.Leaf {
	if l := w.current(); l != nil {
		return l.leaf
	}
	return nil
}

// current returns the present life or, when its process has ended, the last.
func (w *worker) current() *life {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.life
}

// main returns the main process, which may have ended, or nil before the
// first start.
func (w *worker) main() *process {
	if l := w.current(); l != nil {
		return l.process
	}
	return nil
}

func (w *worker) pid() int {
	if p := w.main(); p != nil {
		return p.pid
	}
	return 0
}

// signalMain sends a signal to the main process.
func (w *worker) signalMain(sig unix.Signal) {
	p := w.main()
	if p == nil {
		return
	}
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
	for _, pid := range pids {
		if pid != w.pid() {
			_ = unix.Kill(pid, sig)
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
