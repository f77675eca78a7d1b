package ledger

import (
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Run is a load that goes on. Its methods may be called by any goroutine.
type Run struct {
	loop  *loop
	ended chan struct{}
	stop  sync.Once
}

// Progress counts connections so far.
type Progress struct {
	// Opened are all, Answered and Lost those that have ended, Open the rest.
	Opened, Answered, Lost, Open int64
	// Exchanges are the answers to questions on held connections.
	Exchanges int64
}

// Start begins a load. Its goroutine, the only one, and its descriptors live
// until Finish or Wait returns: one of the two must be called.
func Start(load Load) (*Run, error) {
	load, err := load.withDefaults()
	if err != nil {
		return nil, err
	}
	l, err := newLoop(load)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	r := &Run{loop: l, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		l.run()
	}()
	return r, nil
}

// Finish opens no more connections, waits for the end of those that are open,
// and returns what became of all. It may be called again.
func (r *Run) Finish() *Book {
	r.stop.Do(func() {
		r.loop.stopping.Store(true)
		r.loop.wakeUp()
	})
	return r.Wait()
}

// Wait waits until the load has ended by itself, by its Count or Duration, or
// by Finish.
func (r *Run) Wait() *Book {
	<-r.ended
	return r.loop.book
}

// Progress says how far it is.
func (r *Run) Progress() Progress {
	p := Progress{
		Opened:    r.loop.opened.Load(),
		Answered:  r.loop.answered.Load(),
		Lost:      r.loop.lost.Load(),
		Exchanges: r.loop.exchanges.Load(),
	}
	p.Open = p.Opened - p.Answered - p.Lost
	return p
}

// counters are what others may read while the loop runs.
type counters struct {
	opened, answered, lost, exchanges atomic.Int64
	stopping                          atomic.Bool
}

// alarm makes one descriptor of an epoll ready at a Moment, and another when
// somebody calls wakeUp. A timer of its own is needed: epoll_wait itself counts
// in milliseconds.
type alarm struct {
	timer, bell int
	mu          sync.Mutex // guards bell against its end
}

func (a *alarm) open() (err error) {
	if a.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		return fmt.Errorf("make a timer: %w", err)
	}
	if a.bell, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		unix.Close(a.timer)
		return fmt.Errorf("make an eventfd: %w", err)
	}
	return nil
}

// set sets the timer anew; it takes back one that has gone off.
func (a *alarm) set(at Moment) {
	when := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(at, 1)))}
	_ = unix.TimerfdSettime(a.timer, unix.TFD_TIMER_ABSTIME, &when, nil)
}

func (a *alarm) wakeUp() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.bell >= 0 {
		_, _ = unix.Write(a.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

func (a *alarm) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	unix.Close(a.timer)
	unix.Close(a.bell)
	a.bell = -1
}
