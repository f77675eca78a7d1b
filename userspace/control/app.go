package control

import (
	"context"
	"errors"
	"fmt"
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
		goal:     goal{workers: config.Workers},
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

// serve starts the workers, and returns when they are ended.
func (s *Supervisor) serve(found *legacy) error {
	s.lives, s.giveUp = context.WithCancel(context.Background())
	s.listeners = newListeners(s.steering, &s.config, s.crew, s.fail, s.serving)
	s.listeners.standby = s.standbyCookies()
	s.takeOver(found)
	s.background.Go(func() { s.watch(s.lives) })
	s.background.Go(s.watchProgress)
	s.background.Go(s.scaleByLoad)
	s.background.Go(s.relieve)
	go s.feedWatchdog() // to the very end

	err := s.startAll()
	if err == nil {
		s.manned.Store(true)
		s.save()
		// Some may have listened before anybody read events.
		s.listeners.scan()
		s.resume()
		err = s.wait()
	}
	if errors.Is(err, ErrHandedOver) {
		// Who looks after a worker does nothing to it until this process ends.
		s.forget()
		s.inCharge = false
		s.urgency.raise(hurried)
		return err
	}
	defer s.giveUp()
	if err != nil {
		s.urgency.raise(hurried)
	}
	defer s.urgency.raise(hurried) // the guard ends too
	return errors.Join(err, s.stop())
}

// startAll starts as many workers as are lacking. The first one that can't be
// started is the end.
func (s *Supervisor) startAll() error {
	for len(s.crew.staying()) < s.aims().workers && !s.config.EndOnly {
		cpu := s.freestCPU()
		w, err := s.crew.hire(func(slot int) *worker {
			w := newWorker(s, slot, s.aims().generation)
			w.cpu = cpu
			return w
		})
		if err != nil {
			return err
		}
		if _, err := w.start(); err != nil {
			w.retire()
			s.crew.remove(w)
			return err
		}
		go w.supervise(s.lives)
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
			s.restore()
			s.listeners.scan()
			s.recount()
		case <-late.C:
			if !s.listeners.takeStock() {
				s.log.Warn(fmt.Sprintf("no worker listens%s after %v: is the server slow to start, or set to another port?",
					onPorts(s.config.Ports), listenTime))
			}
		}
	}
}

// restore mends the kernel side. Connections were served all the while.
func (s *Supervisor) restore() {
	restored, err := s.steering.Restore()
	if err != nil {
		s.listeners.once("restore", fmt.Sprintf("the kernel side was lost and can't be made anew, so connections are served but not counted: %v", err))
	}
	if !restored {
		return
	}
	s.log.Warn("the kernel side was lost, as when bpffs is unmounted: it is made anew; weights, drains and limits that were set are gone")
	for _, socket := range s.standby {
		if err := s.park(socket); err != nil {
			s.log.Error(fmt.Sprintf("socket %s of the service manager: %v", socket.Address, err))
		}
	}
	s.listeners.forget()
}

// recount has the kernel's counts compared with the connections there are.
func (s *Supervisor) recount() {
	corrected, err := s.steering.Recount()
	if corrected > 0 {
		s.log.Info(fmt.Sprintf("the counts were off by %d, as connections had ended unseen: they are right again", corrected))
	}
	if err != nil {
		s.listeners.once("recount", fmt.Sprintf("the counts can't be compared with the connections there are: %v", err))
	}
}

// fail ends Run with an error; the first one counts.
func (s *Supervisor) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

// workerEnvironment returns the environment of the worker in a slot.
func (s *Supervisor) workerEnvironment(slot int) []string {
	return workerEnvironment(os.Environ(), s.config.Env, slot, s.aims().workers, s.account)
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
