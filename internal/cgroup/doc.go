// Package cgroup keeps the processes of an app in cgroups of version 2, one
// leaf a worker:
//
//	<where cgroup2 is mounted>/sockdist/<app>/<worker>
//
// A worker is started straight into its leaf (CLONE_INTO_CGROUP, with the
// descriptor of [Leaf.Open]), so there is no moment at which a bind hook of the
// app's cgroup would miss it, and whatever the worker forks is found again by
// the leaf. Membership is all that this takes. Only a limit of memory takes a
// controller (Leaf.SetMemoryMax), and CPU time is counted without any.
//
// # Lifetimes
//
// A cgroup outlives the process that made it, and so do the processes in it.
// [Mount.Create] therefore opens a tree that is already there; whether it
// still holds processes is for the caller to ask. One process at a time holds
// a tree: it is locked until [Tree.Close], and the lock ends with the process.
//
// # Errors
//
// [ErrUnavailable] is wrapped whenever this machine, container or user has no
// cgroup v2 to offer, and says what to change. [ErrInUse] is wrapped when
// another live process holds the tree.
package cgroup

import (
	"errors"
	"fmt"
)

var (
	// ErrUnavailable says that cgroup v2 can't be used from here.
	ErrUnavailable = errors.New("cgroup v2 can't be used here")

	// ErrInUse says that somebody else has this tree.
	ErrInUse = errors.New("in use")
)

// unavailable adds ErrUnavailable, in one line.
func unavailable(err error) error { return fmt.Errorf("%w: %w", err, ErrUnavailable) }
