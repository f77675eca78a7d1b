package loader

import (
	"fmt"
	"slices"
	"sync"
)

// A census is the walks over the connections of one network namespace. Who wants
// one while another is under way shares the next: a hundred groups that recount
// at the same time cost two walks.
type census struct {
	mu      sync.Mutex
	waiting []*ballot
	walking bool
}

// A ballot is one group's part in a walk.
type ballot struct {
	recounter *recounter
	look      look
	err       error
	done      chan struct{}
}

// censuses are those of this process, by the namespace's inode.
var censuses = struct {
	mu sync.Mutex
	of map[uint64]*census
}{of: make(map[uint64]*census)}

func censusOf(netns uint64) *census {
	censuses.mu.Lock()
	defer censuses.mu.Unlock()
	c := censuses.of[netns]
	if c == nil {
		c = new(census)
		censuses.of[netns] = c
	}
	return c
}

// look walks once, after it was called, for all who wait. It works in the calling
// thread's network namespace, which must be the census's.
func (c *census) look(r *recounter) (look, error) {
	part := &ballot{recounter: r, done: make(chan struct{})}
	c.mu.Lock()
	c.waiting = append(c.waiting, part)
	walks := !c.walking
	c.walking = true
	c.mu.Unlock()
	if walks {
		for c.walk() {
		}
	}
	<-part.done
	return part.look, part.err
}

// walk is for all who wait now; false: nobody does.
func (c *census) walk() bool {
	c.mu.Lock()
	parts := c.waiting
	again := len(parts) > 0
	c.waiting, c.walking = nil, again
	c.mu.Unlock()
	// The maps are those of a pin folder, of which a process has one, but in tests.
	for len(parts) > 0 {
		host := parts[0].recounter.group.host.dir
		rest := slices.IndexFunc(parts, func(p *ballot) bool { return p.recounter.group.host.dir != host })
		if rest < 0 {
			rest = len(parts)
		}
		walkFor(parts[:rest])
		parts = parts[rest:]
	}
	return again
}

func walkFor(parts []*ballot) {
	lowest, highest := uint16(1<<16-1), uint16(0)
	for _, p := range parts {
		m := p.recounter.group.memory.value
		lowest, highest = min(lowest, m.Meta.Port), max(highest, m.Meta.Port)
		p.look.before = m.read()
	}
	err := eachOrigin(lowest, highest, parts[0].recounter.maps.Origins, func(cookie uint64, born abiOrigin) error {
		for _, p := range parts {
			if err := p.recounter.count(&p.look.tally, cookie, born); err != nil {
				return err
			}
		}
		return nil
	})
	for _, p := range parts {
		p.look.after = p.recounter.group.memory.value.read()
		if p.err = err; err != nil {
			p.err = fmt.Errorf("walk over sockets: %w", err)
		}
		close(p.done)
	}
}
