package control

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
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
	path    string    // of the command
	account *account  // nil: our own
	ready   *readyURL // nil: who listens is ready
	cpus    []int     // to pin workers to
	// onTerminal is asked at the beginning: a terminal that was closed says no.
	onTerminal bool

	// These are set up by Run, in this order, and then stay.
	tree      *cgroup.Tree
	steering  Steering
	outlet    *outlet
	standby   []standby
	desk      *desk
	workers   *workersDesk
	listeners *listeners
	lives     context.Context // over: processes that can't be killed are given up
	giveUp    context.CancelFunc

	crew     *crew
	inCharge bool // workers, found or started, are ours

	mu   sync.Mutex
	goal goal

	saving    sync.Mutex
	unsaved   bool // the state could not be written down
	forgotten bool // it isn't written down any more

	began      atomic.Bool
	announced  sync.Once     // that the app serves
	manned     atomic.Bool   // all that belongs to the start is done
	changing   chan struct{} // has an element during a change
	departures sync.WaitGroup
	urgency    *urgency
	failed     chan error
	started    chan struct{} // closed with manned
	left       chan struct{} // closed when the workers are another supervisor's
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
		goal: goal{workers: config.Workers, configured: config.Workers}, started: make(chan struct{}), left: make(chan struct{}),
		changing: make(chan struct{}, 1), urgency: newUrgency(), failed: make(chan error, 1), ended: make(chan struct{}),
	}
	s.crew = newCrew(MaxWorkers)
	if len(config.Standby) > 0 {
		s.crew = newCrew(standbySlot)
	}
	if config.Ready != "" {
		if s.ready, err = parseReady(config.Ready); err != nil {
			return nil, err
		}
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
// Workers of an app of the name whose supervisor was killed are taken over, as
// they are: see takeover.go.
//
// Errors wrap [ErrHandedOver], [cgroup.ErrUnavailable] and [cgroup.ErrInUse], [ErrStranger], [ErrUnable],
// a [*StartError], what exec said of the command, and those of the [Kernel].
func (s *Supervisor) Run(ctx context.Context) (err error) {
	if s.began.Swap(true) {
		return errors.New("a supervisor runs only once")
	}
	defer close(s.ended)
	defer survivePipes()()
	defer context.AfterFunc(ctx, func() { s.urgency.raise(hurried) })()
	if s.urgency.is(stopping) && !s.config.EndOnly {
		return nil
	}

	var undo undoing
	defer func() {
		err = errors.Join(err, undo.all())
		s.forget()
		s.desk.close(err, s.inCharge)
	}()
	found, err := s.prepare(&undo)
	if err != nil {
		return err
	}
	return s.serve(found)
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

// prepare sets everything up that has to be there before the first worker. It
// returns what an earlier supervisor left.
func (s *Supervisor) prepare(undo *undoing) (*legacy, error) {
	found, err := s.openTree(undo)
	if err != nil {
		return nil, err
	}
	if err := foreignListeners(s.config.Ports, found.leaves(), s.standbyCookies()); err != nil {
		return nil, err
	}
	s.steering, err = s.kernel.Open(App{
		Name: s.config.Name, Cgroup: s.tree.Path(), Ports: s.config.Ports, TakeOver: len(found.workers) > 0,
	})
	if err != nil {
		return nil, err
	}
	undo.add(func() error {
		err := s.letGo(found)
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
		return nil, err
	}
	undo.add(func() error { return s.outlet.close(s.leavesWorkers(found)) })
	if err := s.openStandby(); err != nil {
		return nil, err
	}
	s.desk = openDesk(s)
	return found, nil
}

// letGo removes the kernel side, unless workers go on that nobody took over.
func (s *Supervisor) letGo(found *legacy) error {
	if s.leavesWorkers(found) {
		return s.steering.Close()
	}
	s.unsteerStandby()
	return s.steering.Detach()
}

// openTree makes the cgroups, or finds those in which workers live.
func (s *Supervisor) openTree(undo *undoing) (*legacy, error) {
	mount, err := cgroup.Find()
	if err != nil {
		return nil, err
	}
	if s.tree, err = s.createTree(mount); err != nil {
		return nil, err
	}
	undo.add(s.tree.Close)
	found, err := s.inherit()
	if err != nil {
		return nil, err
	}
	undo.add(func() error { return s.removeTree(found) })
	return found, s.enableLimits()
}

// workerEnvironment returns the environment of the worker in a slot.
func (s *Supervisor) workerEnvironment(slot int) []string {
	return workerEnvironment(append(os.Environ(), s.workers.variable()), s.config.Env, slot, s.aims().workers, s.account)
}

// freestCPU returns the one that the fewest workers are pinned to, or -1.
func (s *Supervisor) freestCPU() int {
	if len(s.cpus) == 0 {
		return -1
	}
	load := make(map[int]int)
	for _, w := range s.crew.staying() {
		load[w.cpu]++
	}
	return slices.MinFunc(s.cpus, func(a, b int) int { return load[a] - load[b] })
}
