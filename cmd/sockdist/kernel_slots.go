package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/sockets"
)

func (s *steering) Release(slot int, where sockets.Group) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.groups[where]
	if g == nil {
		return nil
	}
	return ignoreNoSlot(g.Remove(slot))
}

func (s *steering) Hold(slot int, why control.Hold) error {
	return s.eachGroup(func(g *loader.Group) error { return ignoreNoSlot(g.Hold(slot, holdOf(why))) })
}

func (s *steering) Unhold(slot int, why control.Hold) error {
	return s.eachGroup(func(g *loader.Group) error { return ignoreNoSlot(g.Unhold(slot, holdOf(why))) })
}

func (s *steering) eachGroup(do func(*loader.Group) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all error
	for _, g := range s.groups {
		all = errors.Join(all, do(g))
	}
	return all
}

// holds are the loader's names for the supervisor's reasons.
var holds = map[control.Hold]loader.Hold{
	control.Starting: loader.HoldStart, control.Hung: loader.HoldHang, control.Leaving: loader.HoldLeave,
}

func holdOf(why control.Hold) (hold loader.Hold) {
	for ours, theirs := range holds {
		if why&ours != 0 {
			hold |= theirs
		}
	}
	return hold
}

func heldFor(hold loader.Hold) (why control.Hold) {
	for ours, theirs := range holds {
		if hold&theirs != 0 {
			why |= ours
		}
	}
	return why
}

func (s *steering) Excuse(slot int, where sockets.Group, from bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.groups[where]
	if g == nil {
		return nil
	}
	if from {
		return ignoreNoSlot(g.Hold(slot, loader.HoldSelf))
	}
	return ignoreNoSlot(g.Unhold(slot, loader.HoldSelf))
}

func (s *steering) Report(slot int, where sockets.Group, cookie uint64) (string, *os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.groups[where]
	if g == nil {
		return "", nil, fmt.Errorf("worker %d has no slot at %s: %w", slot, where.Address, loader.ErrNoSlot)
	}
	if err := g.SetReports(slot, cookie, true); err != nil {
		return "", nil, err
	}
	loads, err := g.LoadsFile()
	return g.Name(), loads, err
}

func (s *steering) Inherit(from, to int) error {
	return s.eachGroup(func(g *loader.Group) error {
		snapshot, err := g.Snapshot()
		if err != nil {
			return err
		}
		i := slices.IndexFunc(snapshot.Slots, func(slot loader.Slot) bool { return slot.Slot == from })
		if i < 0 {
			return nil
		}
		old := snapshot.Slots[i]
		if old.Weight == loader.DefaultWeight && old.Max == 0 {
			return nil
		}
		return ignoreNoSlot(errors.Join(g.SetWeight(to, old.Weight), g.SetMax(to, old.Max)))
	})
}

func (s *steering) Keep(slots []int) error {
	return s.eachGroup(func(g *loader.Group) error {
		snapshot, err := g.Snapshot()
		if err != nil {
			return err
		}
		var all error
		for _, slot := range snapshot.Slots {
			if !slices.Contains(slots, slot.Slot) {
				all = errors.Join(all, ignoreNoSlot(g.Remove(slot.Slot)))
			}
		}
		return all
	})
}

func (s *steering) Recount() (corrected int, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, g := range s.groups {
		n, failed := g.Recount()
		corrected += n
		err = errors.Join(err, failed)
	}
	return corrected, err
}

// Glancer's function says yes where it can't look: somebody changes the groups
// just now.
func (s *steering) Glancer() func() bool {
	var seen map[*loader.Group]*loader.Glance
	return func() (happened bool) {
		if !s.mu.TryRLock() {
			return true
		}
		defer s.mu.RUnlock()
		before := seen
		seen = make(map[*loader.Group]*loader.Glance, len(s.groups))
		for _, g := range s.groups {
			last := before[g]
			if last == nil {
				last = new(loader.Glance)
			}
			seen[g] = last
			happened = g.Glance(last) || happened
		}
		return happened
	}
}

func (s *steering) Dial(ctx context.Context, slot int, where sockets.Group) (net.Conn, error) {
	s.mu.Lock()
	g := s.groups[where]
	s.mu.Unlock()
	if g == nil {
		return nil, fmt.Errorf("worker %d has no slot at %s: %w", slot, where.Address, loader.ErrNoSlot)
	}
	return g.Dial(ctx, slot, netip.AddrPort{})
}

func ignoreNoSlot(err error) error {
	if errors.Is(err, loader.ErrNoSlot) {
		return nil
	}
	return err
}

func (s *steering) Traffic() (map[int]control.Traffic, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	traffic := make(map[int]control.Traffic)
	for _, g := range s.groups {
		snapshot, err := g.Snapshot()
		if err != nil {
			return nil, err
		}
		for _, slot := range snapshot.Slots {
			t := traffic[slot.Slot]
			t.Connections += slot.Connections
			t.Pending += slot.Pending
			t.Opened += slot.Opened
			t.Held |= heldFor(slot.Hold)
			if slot.State != loader.Gone && slot.Hold&loader.HoldSelf == 0 {
				t.Beat += slot.Beat // of a listener in use
			}
			traffic[slot.Slot] = t
		}
	}
	return traffic, nil
}
