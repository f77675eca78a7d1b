package capabilities

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
)

// ErrGivenUp is wrapped when a capability was given up that is needed after all.
var ErrGivenUp = errors.New("was given up after the start")

// A Duty is what a process does from the end of its start on. The zero Duty is
// to do nothing.
type Duty struct {
	// Groups: library groups are there; workers bring or get their listeners.
	Groups bool
	// Attached: servers that run are steered, and watched.
	Attached bool
	// Users: there are apps whose workers have users of their own.
	Users bool
	// Same: there are apps whose workers have the user of this process.
	Same bool
	// LowPorts: this process makes listeners on ports below 1024.
	LowPorts bool
	// Namespaces: something of it is in another network namespace.
	Namespaces bool
	// Closed: folders that it uses are closed to its user.
	Closed bool
}

// Works are what the duty consists of.
func (d Duty) Works() (all []Work) {
	for _, part := range []struct {
		done  bool
		works []Work
	}{
		{d.Groups, []Work{Steer, Deafen, Present, Fetch, Look}},
		{d.Attached, []Work{Steer, Fetch, Look}},
		{d.Users, []Work{Steer, Hook, Fetch, Look, Become, Signal}},
		{d.Same, []Work{Steer, Hook, Fetch}},
		{d.LowPorts, []Work{Listen}},
		{d.Namespaces, []Work{Namespaces}},
		{d.Closed, []Work{Closed}},
	} {
		if part.done {
			all = append(all, part.works...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Needs is what a process with the sets of own and of this user has to keep for
// the duty.
//
// Who starts workers as root keeps all. They would have all of the bounding set
// in any case, so nothing is won by less, and something lost: the kernel makes
// no core dumps of a program that has more than who started it; and with
// no_new_privs, workers would lack what a server of root's usually has.
//
// Who starts workers as its own user, which isn't root, keeps what they inherit
// beyond its own needs, such as CAP_NET_BIND_SERVICE.
func (d Duty) Needs(own Own, uid int) Set {
	switch {
	case d.Same && uid == 0:
		return own.Permitted
	case d.Same:
		return For(d.Works()...) | d.bequest(own)
	}
	return For(d.Works()...)
}

// bequest is what workers of the own user get: what is ambient, and not there
// for our sake.
func (d Duty) bequest(own Own) Set {
	return own.Ambient &^ (All() &^ Of(NetBindService))
}

// Fulfil gives up all that the duty doesn't need. It is called once everything
// is set up, and before workers are started; what they inherit is settled then,
// too. Where nothing is started ever, it sets no_new_privs as well.
func (d Duty) Fulfil() error {
	own, err := Read()
	if err != nil {
		return err
	}
	if err := LowerAmbient(own.Ambient &^ d.bequest(own)); err != nil {
		return err
	}
	if !d.Same && !d.Users {
		if err := RefuseNewPrivileges(); err != nil {
			return err
		}
	}
	// Who has CAP_SYS_ADMIN only, of an old unit, keeps that for CAP_BPF.
	keep := own.Permitted.covering(d.Needs(own, os.Geteuid()))
	if err := Drop(keep); err != nil {
		return err
	}
	gaveUp.Store(keep != own.Permitted)
	return nil
}

// gaveUp tells that Fulfil left less than there was.
var gaveUp atomic.Bool

// Check tells whether this process still has what the duty needs, for a change
// of what it does.
func (d Duty) Check() error {
	own, err := Read()
	if err != nil {
		return err
	}
	if d.Same && os.Geteuid() == 0 && gaveUp.Load() {
		return fmt.Errorf("what workers of root's have %w: restart sockdist, or give them a user", ErrGivenUp)
	}
	if missing := own.Effective.Missing(For(d.Works()...)); missing != 0 {
		return fmt.Errorf("%s %w: restart sockdist", missing, ErrGivenUp)
	}
	return nil
}
