package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const restartAfter = 100 * time.Millisecond

// A crew is all workers.
type crew struct {
	command []string
	least   bool
	next    int // of accept alone

	mu      sync.Mutex // of changes
	workers atomic.Pointer[[]*worker]
}

func newCrew(command []string, least bool) *crew {
	c := &crew{command: command, least: least}
	c.workers.Store(new([]*worker))
	return c
}

// change starts as many new workers as there are in place of the old ones, or
// else one more.
func (c *crew) change(all bool) error {
	if !all {
		return c.add(1)
	}
	old := *c.workers.Load()
	if err := c.add(len(old)); err != nil {
		return err
	}
	c.edit(func(now []*worker) []*worker {
		return slices.DeleteFunc(now, func(w *worker) bool { return slices.Contains(old, w) })
	})
	for _, w := range old {
		w.leave()
	}
	return nil
}

// add starts n workers, and passes them connections when all serve.
func (c *crew) add(n int) error {
	added, err := c.begin(n)
	if err != nil {
		for _, w := range added {
			w.leave()
		}
		return err
	}
	c.edit(func(now []*worker) []*worker { return append(now, added...) })
	for _, w := range added {
		go c.keep(w)
	}
	return nil
}

// begin starts n workers, and waits until they serve.
func (c *crew) begin(n int) (begun []*worker, err error) {
	for range n {
		w, err := begin(c.command, c.least)
		if err != nil {
			return begun, err
		}
		begun = append(begun, w)
	}
	for _, w := range begun {
		if err := w.await(); err != nil {
			return begun, err
		}
	}
	return begun, nil
}

// keep replaces a worker that ends by itself.
func (c *crew) keep(w *worker) {
	<-w.ended
	c.edit(func(now []*worker) []*worker {
		return slices.DeleteFunc(now, func(x *worker) bool { return x == w })
	})
	for !w.leaving.Load() {
		time.Sleep(restartAfter)
		err := c.add(1)
		if err == nil {
			return
		}
		fmt.Fprintln(os.Stderr, "master:", err)
	}
}

// edit changes the list, which accept reads without a lock.
func (c *crew) edit(change func([]*worker) []*worker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := change(slices.Clone(*c.workers.Load()))
	c.workers.Store(&now)
}

// accept passes connections on for ever.
func (c *crew) accept(listener int) error {
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		switch {
		case err == unix.EINTR || err == unix.ECONNABORTED:
			continue
		case err == unix.EMFILE || err == unix.ENFILE:
			time.Sleep(10 * time.Millisecond)
			continue
		case err != nil:
			return os.NewSyscallError("accept", err)
		}
		c.pass(fd)
		unix.Close(fd)
	}
}

// pass gives a connection to a worker, of those that can take one. With none it
// waits: all may be starting again.
func (c *crew) pass(fd int) {
	for {
		for range *c.workers.Load() {
			w := c.choose()
			if w == nil {
				break
			}
			w.has.Add(1)
			if err := w.pass(fd); err == nil {
				return
			} else if !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
				fmt.Fprintln(os.Stderr, "master: pass:", err)
			}
			w.has.Add(-1)
		}
		time.Sleep(time.Millisecond)
	}
}

// choose is in turn; with least the first in turn of those that have the fewest.
func (c *crew) choose() *worker {
	workers := *c.workers.Load()
	if len(workers) == 0 {
		return nil
	}
	c.next = (c.next + 1) % len(workers)
	best := workers[c.next]
	if !c.least {
		return best
	}
	for i := range workers {
		if w := workers[(c.next+i)%len(workers)]; w.has.Load() < best.has.Load() {
			best = w
		}
	}
	return best
}
