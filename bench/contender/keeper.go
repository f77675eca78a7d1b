package contender

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	restartAfter = 100 * time.Millisecond
	grace        = time.Second // for who was told to end; as for sockdist
)

// A keeper is to plain workers what an init system is.
type keeper struct {
	setup   *Setup
	port    int
	command Command
	shared  *os.File // listener of all, nil if each has its own
	serving acceptors

	over    chan struct{}
	keeping sync.WaitGroup

	mu     sync.Mutex
	places []*place
}

// A place is kept taken by a worker.
type place struct {
	leaving chan struct{} // closed: who ends isn't to be replaced
	left    chan struct{} // closed: nobody is there any more

	// The present worker, under the keeper's lock.
	process *Process // or the last one
}

// keep starts the fleet of a keeper.
func (s *Setup) keep(ctx context.Context, k *keeper) (*Fleet, error) {
	k.setup, k.over, k.serving.port = s, make(chan struct{}), k.port
	f := s.begun()
	f.ends = append(f.ends, k.end)
	f.Commands = append(f.Commands, k.inheriting(nil).line())
	f.Workers, f.Reload, f.Grow = k.workers, k.reload, k.grow
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := k.add(within, s.Workers); err != nil {
		return s.fail(err)
	}
	return s.ready(ctx, local(k.port))
}

// add starts n more workers, and waits until they accept.
func (k *keeper) add(ctx context.Context, n int) error {
	var added []*place
	for range n {
		p, err := k.take()
		if err != nil {
			return err
		}
		added = append(added, p)
	}
	for _, p := range added {
		if err := k.await(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// take begins to keep a place.
func (k *keeper) take() (*place, error) {
	p := &place{leaving: make(chan struct{}), left: make(chan struct{})}
	if err := k.start(p); err != nil {
		return nil, err
	}
	k.mu.Lock()
	k.places = append(k.places, p)
	k.mu.Unlock()
	k.keeping.Go(func() { k.watch(p) })
	return p, nil
}

// start puts a worker in a place.
func (k *keeper) start(p *place) error {
	listener := k.shared
	if listener == nil {
		var err error
		if listener, err = bound(k.port, true); err != nil {
			return err
		}
		defer listener.Close()
	}
	process, err := k.setup.spawn(k.inheriting(listener))
	if err != nil {
		return err
	}
	k.mu.Lock()
	p.process = process
	k.mu.Unlock()
	select {
	case <-k.over: // and end may have looked before
		k.signal(p, unix.SIGKILL)
	default:
	}
	return nil
}

// inheriting is the command of a worker.
func (k *keeper) inheriting(listener *os.File) Command {
	c := k.command
	c.Env = append(slices.Clone(c.Env), fmt.Sprintf("PORT=%d", k.port), "LISTEN_FD=3")
	c.Files = append([]*os.File{listener}, c.Files...)
	return c
}

// watch replaces the workers of a place until it is left, or all is over.
func (k *keeper) watch(p *place) {
	defer close(p.left)
	for {
		<-k.present(p).ended
		select {
		case <-k.over:
			return
		case <-p.leaving:
			return
		case <-time.After(restartAfter):
			_ = k.start(p) // or the next time
		}
	}
}

func (k *keeper) present(p *place) *Process {
	k.mu.Lock()
	defer k.mu.Unlock()
	return p.process
}

// await waits until the worker of a place accepts.
func (k *keeper) await(ctx context.Context, p *place) error {
	process := k.present(p)
	for {
		if err := process.Ended(); err != nil {
			return err
		}
		if accept, err := k.serving.among([]int{process.PID}); err != nil || len(accept) > 0 {
			return err
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("worker %d doesn't accept: %w: %s", process.PID, err, process.LastWords())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// workers are those that accept.
func (k *keeper) workers() ([]int, error) {
	var pids []int
	for _, p := range k.all() {
		if process := k.present(p); process.Ended() == nil {
			pids = append(pids, process.PID)
		}
	}
	return k.serving.among(pids)
}

func (k *keeper) all() []*place {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.places)
}

func (k *keeper) grow(ctx context.Context) error { return k.add(ctx, 1) }

func (k *keeper) reload(ctx context.Context) error {
	old := k.all()
	if err := k.add(ctx, len(old)); err != nil {
		return err
	}
	for _, p := range old {
		close(p.leaving)
		k.signal(p, unix.SIGTERM)
	}
	deadline := time.After(grace)
	for _, p := range old {
		select {
		case <-p.left:
		case <-deadline:
			deadline = time.After(0) // for the next, too
			k.signal(p, unix.SIGKILL)
			<-p.left
		}
	}
	k.forget(old)
	return nil
}

func (k *keeper) forget(old []*place) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.places = slices.DeleteFunc(k.places, func(p *place) bool { return slices.Contains(old, p) })
}

// signal reaches the worker of a place, if there is one.
func (k *keeper) signal(p *place, s unix.Signal) {
	if process := k.present(p); process.Ended() == nil {
		_ = process.Signal(s)
	}
}

// end kills all workers.
func (k *keeper) end() error {
	close(k.over)
	for _, p := range k.all() {
		k.signal(p, unix.SIGKILL)
	}
	k.keeping.Wait()
	if k.shared == nil {
		return nil
	}
	return k.shared.Close()
}
