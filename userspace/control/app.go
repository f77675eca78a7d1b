package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockdist/sockdist/internal/cgroup"
)

// listenTime is how long workers have to listen before somebody is told.
const listenTime = 10 * time.Second

// Supervisor runs one app. It is made by New and runs once.
type Supervisor struct {
	config  Config
	kernel  Kernel
	log     *slog.Logger
	path    string   // of the command
	account *account // nil: our own
	cpus    []int    // to pin workers to
	// onTerminal is asked at the beginning: a terminal that was closed says no.
	onTerminal bool

	// These are set up by Run, in this order, and then stay.
	tree      *cgroup.Tree
	steering  Steering
	outlet    *outlet
	workers   []*worker
	listeners *listeners

	began      atomic.Bool
	manned     atomic.Bool // workers may be read from outside of Run
	urgency    *urgency
	failed     chan error
	ended      chan struct{} // closed when Run returns
	background sync.WaitGroup
}

// New checks the configuration: whether the command is there, the user, the
// name. It sets nothing up.
func New(config Config, kernel Kernel) (*Supervisor, error) {
	path, err := findCommand(config.Command)
	if err != nil {
		return nil, err
	}
	if err := config.complete(); err != nil {
		return nil, err
	}
	s := &Supervisor{
		config: config, kernel: kernel, log: config.Logger, path: path,
		urgency: newUrgency(), failed: make(chan error, 1), ended: make(chan struct{}),
	}
	s.onTerminal = isTerminal(config.Stdout) || isTerminal(config.Stderr)
	if config.User != "" {
		if s.account, err = findAccount(config.User); err != nil {
			return nil, err
		}
	}
	if config.Pin {
		if s.cpus, err = affinity(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Run starts the workers and keeps them running until [Supervisor.Signal] or
// [Supervisor.Shutdown] ends it, which is no error. When the context is over
// it ends too, without waiting for connections. Whatever the reason, nothing
// of the app is left afterwards: no process, cgroup, hook or group.
//
// Errors wrap [cgroup.ErrUnavailable] and [cgroup.ErrInUse], [ErrStranger], [ErrUnable],
// a [*StartError], what exec said of the command, and those of the [Kernel].
func (s *Supervisor) Run(ctx context.Context) (err error) {
	if s.began.Swap(true) {
		return errors.New("a supervisor runs only once")
	}
	defer close(s.ended)
	defer survivePipes()()
	defer context.AfterFunc(ctx, func() { s.urgency.raise(hurried) })()
	if s.urgency.is(stopping) {
		return nil
	}

	var undo undoing
	defer func() { err = errors.Join(err, undo.all()) }()
	if err := s.prepare(&undo); err != nil {
		return err
	}
	return s.serve()
}

// undoing is what has to be undone, the last first.
type undoing []func() error

func (u *undoing) add(f func() error) { *u = append(*u, f) }

func (u *undoing) all() error {
	var failed []error
	for i := len(*u) - 1; i >= 0; i-- {
		failed = append(failed, (*u)[i]())
	}
	return errors.Join(failed...)
}

// prepare sets everything up that has to be there before the first worker.
func (s *Supervisor) prepare(undo *undoing) (err error) {
	if err := foreignListeners(s.config.Ports); err != nil {
		return err
	}
	if err := s.openTree(undo); err != nil {
		return err
	}
	s.steering, err = s.kernel.Open(App{Name: s.config.Name, Cgroup: s.tree.Path(), Ports: s.config.Ports})
	if err != nil {
		return err
	}
	undo.add(func() error {
		err := s.steering.Detach()
		s.background.Wait() // the reader of events ends with Detach
		if s.listeners != nil {
			s.listeners.searches.Wait() // it started these
		}
		return err
	})

	if os.Getpid() == 1 {
		undo.add(reapInBackground())
	}
	if s.outlet, err = openOutlet(&s.config); err != nil {
		return err
	}
	undo.add(s.outlet.close)
	return nil
}

// openTree makes the cgroups, and refuses those in which something lives.
func (s *Supervisor) openTree(undo *undoing) error {
	mount, err := cgroup.Find()
	if err != nil {
		return err
	}
	if s.tree, err = mount.Create(s.config.Name); err != nil {
		return err
	}
	undo.add(s.tree.Close)

	left, err := s.tree.Procs()
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return fmt.Errorf("workers of an earlier app %s still run (pids %s): take another name, "+
			"or end them with echo 1 > %s/cgroup.kill: %w", s.config.Name, joinNumbers(left), s.tree.Path(), cgroup.ErrInUse)
	}
	undo.add(s.tree.Remove)
	return nil
}

// serve starts the workers, and returns when they are ended.
func (s *Supervisor) serve() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	for slot := range s.config.Workers {
		s.workers = append(s.workers, newWorker(s, slot))
	}
	s.listeners = newListeners(s.steering, &s.config, s.workers, s.fail)
	s.background.Go(func() { s.watch(ctx) })

	err := s.startAll(ctx)
	if err == nil {
		s.manned.Store(true)
		// Some may have listened before anybody read events.
		s.listeners.scan()
		err = s.wait()
	}
	if err != nil {
		s.urgency.raise(hurried)
	}
	return errors.Join(err, s.stop(cancel))
}

// startAll starts each worker once. The first one that can't be started is
// the end.
func (s *Supervisor) startAll(ctx context.Context) error {
	for i, w := range s.workers {
		if _, err := w.start(); err != nil {
			for _, w := range s.workers[i:] {
				w.retire()
				close(w.done)
			}
			return err
		}
		go w.supervise(ctx)
	}
	return nil
}

// wait returns nil when somebody wants the end, or the error that makes it
// necessary.
func (s *Supervisor) wait() error {
	late := time.NewTimer(listenTime)
	defer late.Stop()
	scan := time.NewTicker(scanEvery)
	defer scan.Stop()
	for {
		select {
		case <-s.urgency.at(stopping):
			return nil
		case err := <-s.failed:
			return err
		case <-scan.C:
			s.listeners.scan()
		case <-late.C:
			if !s.listeners.takeStock() {
				s.log.Warn(fmt.Sprintf("no worker listens%s after %v: is the server slow to start, or set to another port?",
					onPorts(s.config.Ports), listenTime))
			}
		}
	}
}

// fail ends Run with an error; the first one counts.
func (s *Supervisor) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

// WorkerStatus is how a worker is.
type WorkerStatus struct {
	Slot int
	// PID is the main process, or the last one.
	PID     int
	Running bool
	// Starts is 1 for a worker that never died.
	Starts int
	Since  time.Time // of the last start
}

// Workers returns the workers by slot, or nothing while they are being set up.
func (s *Supervisor) Workers() []WorkerStatus {
	if !s.manned.Load() {
		return nil
	}
	var all []WorkerStatus
	for _, w := range s.workers {
		all = append(all, w.status())
	}
	return all
}

// workerEnvironment returns the environment of the worker in a slot.
func (s *Supervisor) workerEnvironment(slot int) []string {
	return workerEnvironment(os.Environ(), s.config.Env, slot, s.config.Workers, s.account)
}

// cpuOf returns the CPU that a slot's worker is pinned to, or -1.
func (s *Supervisor) cpuOf(slot int) int {
	if len(s.cpus) == 0 {
		return -1
	}
	return s.cpus[slot%len(s.cpus)]
}
