package attachment

import (
	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// A Group is what Attach made of one group.
type Group struct {
	Spec loader.GroupSpec
	New  bool // it was not there before
	// Earlier is the layout of the pins of another version of sockdist that had
	// the sockets, "" mostly. What had been set there (policy, weights, drains,
	// limits) isn't known any more.
	Earlier string
	Slots   []Slot
	Changes []Change // in the order in which they were made
	// Unowned is how many accepted connections belong to no slot: their process
	// serves none. They are not counted.
	Unowned int
	// LeftOut is how many sockets of the group have no slot, because no process
	// that was asked for, or can be seen, holds them. They get no connections.
	LeftOut int
}

// A Slot is a slot and who is behind it.
type Slot struct {
	loader.Slot
	// Process is the name of the program that serves it; "" if it is gone.
	Process string
	// Holders are all processes that have its listener, by PID.
	Holders []sockets.Holder
	// Servers is how many of them take connections from it. Of more than one,
	// the kernel lets any have the next connection.
	Servers int
}

// A ChangeKind says what happened.
type ChangeKind int

// The kinds of changes. Those before Steered are of one slot.
const (
	Joined      ChangeKind = iota + 1 // a new listener got the slot
	Left                              // the slot was freed
	Lost                              // the slot's listener is gone; it is kept for the next one
	Moved                             // another process serves the slot's listener
	Steered                           // the program was attached
	Repolicied                        // another policy
	Upgraded                          // the program of this sockdist was attached in place of its earlier one
	BroughtOver                       // the sockets are no longer those of another version's group
)

var changeNames = [...]string{
	Joined:      "slot taken",
	Left:        "slot freed",
	Lost:        "listener gone",
	Moved:       "another process serves the slot",
	Steered:     "steering",
	Repolicied:  "policy changed",
	Upgraded:    "program upgraded",
	BroughtOver: "brought over from another version",
}

func (k ChangeKind) String() string { return changeNames[k] }

// ofSlot tells whether such a change is of one slot.
func (k ChangeKind) ofSlot() bool { return k < Steered }

// A Change is something that Attach or Watch did to a group.
type Change struct {
	Kind    ChangeKind
	Slot    int    // -1 if it is not of one slot
	PID     int    // who serves the slot, or did
	Process string // its program's name, as far as known
}
