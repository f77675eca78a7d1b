package contender

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"
)

// backends are the servers behind a proxy. Its methods are for one goroutine;
// the keepers are others.
type backends struct {
	setup   *Setup
	args    []string
	made    int // so far
	all     []*backend
	keepers sync.WaitGroup
}

// A backend is a server with a port of its own.
type backend struct {
	Name string // in the proxy's configuration
	Port int

	owner   *backends
	lock    sync.Mutex
	process *Process      // that is there now, or was last
	retired chan struct{} // it isn't started again
	retire  func()        // has the keeper start none any more
}

func (s *Setup) newBackends(args []string) *backends {
	b := &backends{setup: s, args: args}
	f := s.begun()
	f.ends = append(f.ends, b.end)
	return b
}

// add starts one more, and waits until it serves.
func (b *backends) add(ctx context.Context) (*backend, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	b.made++
	added, err := b.start(fmt.Sprintf("worker%d", b.made), port)
	if err != nil {
		return nil, err
	}
	f := b.setup.begun()
	f.Commands = append(f.Commands, b.command(port).line())
	b.all = append(b.all, added)
	return added, added.serves(ctx)
}

// replace puts a new process in the place of one, at the same port.
func (b *backends) replace(ctx context.Context, old *backend) error {
	old.stop()
	fresh, err := b.start(old.Name, old.Port)
	if err != nil {
		return err
	}
	b.all[slices.Index(b.all, old)] = fresh
	return fresh.serves(ctx)
}

// remove stops some.
func (b *backends) remove(some []*backend) {
	b.all = slices.DeleteFunc(b.all, func(one *backend) bool { return slices.Contains(some, one) })
	for _, one := range some {
		one.stop()
	}
}

func (b *backends) command(port int) Command {
	return Command{Args: b.args, Env: environment(port)}
}

func (b *backends) start(name string, port int) (*backend, error) {
	process, err := b.setup.spawn(b.command(port))
	if err != nil {
		return nil, err
	}
	one := &backend{Name: name, Port: port, owner: b, process: process, retired: make(chan struct{})}
	one.retire = sync.OnceFunc(one.leave)
	b.keepers.Go(one.keep)
	return one, nil
}

func (b *backends) list() []*backend { return slices.Clone(b.all) }

func (b *backends) workers() (pids []int, err error) {
	for _, one := range b.all {
		if p := one.now(); p.Ended() == nil {
			pids = append(pids, p.PID)
		}
	}
	return pids, nil
}

func (b *backends) end() error {
	for _, one := range b.all {
		one.retire()
		_ = one.now().Signal(syscall.SIGKILL)
	}
	for _, one := range b.all {
		<-one.now().ended
	}
	b.keepers.Wait()
	b.all = nil
	return nil
}

// keep starts it again whenever it ended.
func (b *backend) keep() {
	for {
		select {
		case <-b.retired:
			return
		case <-b.now().ended:
		}
		select {
		case <-b.retired:
			return
		case <-time.After(restartAfter):
		}
		b.again()
	}
}

// again is for the keeper. What can't be started is tried again.
func (b *backend) again() {
	b.lock.Lock()
	defer b.lock.Unlock()
	select {
	case <-b.retired:
		return
	default:
	}
	if process, err := b.owner.setup.spawn(b.owner.command(b.Port)); err == nil {
		b.process = process
	}
}

func (b *backend) now() *Process {
	b.lock.Lock()
	defer b.lock.Unlock()
	return b.process
}

func (b *backend) leave() {
	b.lock.Lock()
	defer b.lock.Unlock()
	close(b.retired)
}

// stop ends it, by force if it takes long.
func (b *backend) stop() {
	b.retire()
	p := b.now()
	_ = p.Signal(syscall.SIGTERM)
	if !p.awaitEnd(grace) {
		_ = p.Signal(syscall.SIGKILL)
		<-p.ended
	}
}

// serves waits until it answers.
func (b *backend) serves(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var err error
	for ctx.Err() == nil {
		if _, err = Ask(local(b.Port), "/"); err == nil {
			return nil
		}
		if ended := b.now().Ended(); ended != nil {
			err = ended
		}
		pause(ctx, 10*time.Millisecond)
	}
	return fmt.Errorf("server at port %d: %w", b.Port, errors.Join(err, ctx.Err()))
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
