package attachment

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// A renewal makes a group's slots match the sockets that listen, and steers.
type renewal struct {
	*attempt
	group *loader.Group
	found kernelGroup
	isNew bool
	was   *earlier // of another version, whose sockets these are; or nil

	seats   []seat
	changes []Change
	unowned int
}

// run fills all slots before it steers. Connections that are accepted between
// the counting of older ones and the first pick are counted by the second counting.
func (r *renewal) run() (Group, error) {
	before, err := r.group.Snapshot()
	if err != nil {
		return Group{}, err
	}
	p := makePlan(before.Slots, r.found.listeners)
	r.was.keepSlots(p.taken, before.Slots)
	steps := []func() error{
		func() error { return r.free(p.out) },
		func() error { return r.keep(p) },
		func() error { return r.take(p.taken) },
		func() error { return r.policy(before.Spec.Policy) },
	}
	if len(p.taken) > 0 {
		steps = append(steps, r.adopt, r.steer, r.adopt)
	} else {
		steps = append(steps, r.steer, r.adoptLeft)
	}
	steps = append(steps, r.leave, func() error { return r.freeGone(p.gone) })
	for _, step := range steps {
		if err := r.interrupted(); err != nil {
			return Group{}, err
		}
		if err := step(); err != nil {
			return Group{}, err
		}
	}
	return r.result()
}

// interrupted is for new groups: what is there already is better completed.
func (r *renewal) interrupted() error {
	if !r.isNew || r.was != nil {
		return nil
	}
	return r.ctx.Err()
}

// leave ends what there was under another version.
func (r *renewal) leave() error {
	if r.was == nil {
		return nil
	}
	r.note(BroughtOver, -1, sockets.Holder{})
	return r.was.leave()
}

func (r *renewal) note(kind ChangeKind, slot int, server sockets.Holder) {
	r.changes = append(r.changes, Change{Kind: kind, Slot: slot, PID: server.PID, Process: programOf(server)})
}

func (r *renewal) free(slots []loader.Slot) error {
	for _, s := range slots {
		if err := r.group.Remove(s.Slot); err != nil && !errors.Is(err, loader.ErrNoSlot) {
			return err
		}
		r.note(Left, s.Slot, sockets.Holder{PID: s.PID})
		r.forget(s.Cookie)
	}
	return nil
}

// forget takes the mark off a socket that still listens without a slot.
func (r *renewal) forget(cookie uint64) {
	for _, l := range r.found.leftOut {
		if l.Cookie == cookie {
			_ = l.with(r.group.Forget) // it only costs a look-up a connection
		}
	}
}

// freeGone frees the slots whose listeners are gone, unless somebody waits for new ones.
func (r *renewal) freeGone(slots []loader.Slot) error {
	var out []loader.Slot
	for _, s := range slots {
		if !r.watch.keeps(r.group.Name(), s) {
			out = append(out, s)
		}
	}
	return r.free(out)
}

// keep notes who serves the slots that stay. One is added again in any case: with
// that, the group's tables are computed anew, which an attach that was killed may
// not have come to.
func (r *renewal) keep(p plan) error {
	r.seats = append(r.seats, p.kept...)
	if len(p.kept) > 0 && r.watch == nil {
		if _, err := r.add(p.kept[0]); err != nil && !gone(err) {
			return err
		}
	}
	for _, s := range p.moved {
		if _, err := r.add(s); err != nil {
			if gone(err) {
				continue
			}
			return err
		}
		r.note(Moved, s.slot, s.listener.server)
	}
	return nil
}

// take gives slots to new listeners. One that has gone meanwhile needs none.
func (r *renewal) take(newcomers []seat) error {
	for _, s := range newcomers {
		if err := r.interrupted(); err != nil {
			return err
		}
		slot, err := r.add(s)
		if gone(err) {
			continue
		}
		if err != nil {
			return err
		}
		r.seats = append(r.seats, seat{slot, s.listener})
		r.note(Joined, slot, s.listener.server)
	}
	if len(r.seats) == 0 {
		return fmt.Errorf("%w any more; start the server again, and attach", ErrNobody)
	}
	return nil
}

const (
	// freedWithin is how long the kernel may take to give a socket free that
	// was in the array of a group that is gone.
	freedWithin = 3 * time.Second
	freedAgain  = 10 * time.Millisecond
)

func (r *renewal) add(s seat) (slot int, err error) {
	for deadline := time.Now().Add(freedWithin); ; time.Sleep(freedAgain) {
		var added error
		err := s.listener.with(func(fd int) error {
			slot, added = r.was.add(r.group, s.slot, s.listener.Cookie, loader.Listener{FD: fd, PID: s.listener.server.PID, Start: s.listener.server.Start})
			if errors.Is(added, loader.ErrNotListening) && !listens(fd) {
				added = errGone
			}
			return nil
		})
		switch {
		case err != nil:
			return 0, err
		case added == nil || errors.Is(added, errGone):
			return slot, added
		case errors.Is(added, loader.ErrSteered) && r.steerers[s.listener.Cookie] == 0 && time.Now().Before(deadline):
			if err := r.interrupted(); err != nil {
				return 0, err
			}
		default:
			return 0, r.options.explainAdd(s.listener, added)
		}
	}
}

func listens(fd int) bool {
	d, err := sockets.Describe(fd)
	return err == nil && d.Listening
}

func (r *renewal) policy(present loader.Policy) error {
	want := r.options.Policy
	if want == nil || *want == present || r.watch != nil {
		return nil // an operator may have chosen another since the watch began
	}
	r.note(Repolicied, -1, sockets.Holder{})
	return r.group.SetPolicy(*want)
}

func (r *renewal) adopt() (err error) {
	r.unowned, err = r.found.adopt(r.group, r.seats)
	return err
}

// adoptLeft counts what an earlier attempt did not get to.
func (r *renewal) adoptLeft() error {
	if r.watch != nil {
		return nil
	}
	return r.adopt()
}

// steer attaches the program where it is missing: once for a whole group, as
// the kernel has it, unless that was torn apart by a change of owners.
func (r *renewal) steer() error {
	id, err := r.group.ProgramID()
	if err != nil {
		return err
	}
	for _, s := range r.seats {
		if r.steerers[s.listener.Cookie] == id {
			continue
		}
		err := s.listener.with(r.group.Steer)
		if gone(err) {
			continue
		}
		if err != nil {
			return err
		}
		r.noteSteered(s.listener.Cookie)
		if r.steerers, err = loader.Steerers(); err != nil {
			return err
		}
	}
	return nil
}

// noteSteered says once that the program is attached, in place of one that was
// the group's before an upgrade or of none.
func (r *renewal) noteSteered(cookie uint64) {
	kind := Steered
	if have := r.called(r.group.Name()); have != nil && slices.Contains(have.programs, r.steerers[cookie]) {
		kind = Upgraded
	}
	if !slices.ContainsFunc(r.changes, func(c Change) bool { return !c.Kind.ofSlot() && c.Kind != Repolicied }) {
		r.note(kind, -1, sockets.Holder{})
	}
}

func (r *renewal) result() (Group, error) {
	after, err := r.group.Snapshot()
	if err != nil {
		return Group{}, err
	}
	g := Group{Spec: after.Spec, New: r.isNew, Changes: r.changes, Unowned: r.unowned, LeftOut: len(r.found.leftOut)}
	if r.was != nil {
		g.Earlier = r.was.from.Layout
	}
	for _, s := range after.Slots {
		slot := Slot{Slot: s}
		i := slices.IndexFunc(r.found.listeners, func(l listener) bool { return l.Cookie == s.Cookie })
		if i >= 0 && s.State != loader.Gone {
			l := r.found.listeners[i]
			slot.Process, slot.Holders, slot.Servers = programOf(l.server), l.holders, l.served()
		}
		g.Slots = append(g.Slots, slot)
	}
	return g, nil
}
