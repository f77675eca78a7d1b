package control

import (
	"fmt"
	"slices"
	"sync"
)

// crew is the workers that an app has now, by slot: those that serve, new ones
// that aren't ready yet, and old ones that are on their way out.
type crew struct {
	slots int // that workers may have

	mu      sync.Mutex
	members map[int]*worker
}

func newCrew(slots int) *crew { return &crew{slots: slots, members: make(map[int]*worker)} }

// all returns the workers in the order of their slots.
func (c *crew) all() []*worker {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]*worker, 0, len(c.members))
	for _, w := range c.members {
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b *worker) int { return a.slot - b.slot })
	return all
}

// staying returns the workers that aren't on their way out.
func (c *crew) staying() []*worker {
	return slices.DeleteFunc(c.all(), (*worker).isRetired)
}

// in returns the worker in a slot, or nil.
func (c *crew) in(slot int) *worker {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.members[slot]
}

// add takes a worker in.
func (c *crew) add(w *worker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members[w.slot] = w
}

// remove takes a worker out, whose slot another one may then have.
func (c *crew) remove(w *worker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.members[w.slot] == w {
		delete(c.members, w.slot)
	}
}

// hire makes a worker in the lowest free slot.
func (c *crew) hire(make func(slot int) *worker) (*worker, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for slot := range c.slots {
		if c.members[slot] == nil {
			w := make(slot)
			c.members[slot] = w
			return w, nil
		}
	}
	return nil, fmt.Errorf("all %d slots are taken, by old workers that finish their connections too: "+
		"wait for these, or let them go sooner with a shorter --grace", c.slots)
}
