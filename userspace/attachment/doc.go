// Package attachment takes servers that already run under sockdist's choice, and
// gives them back: what is behind sockdist attach and detach, for any program.
//
//   - [Attach] finds the listening sockets of an address, in whichever processes
//     hold them, gives each a slot, counts the connections that are there
//     already, and steers. Called again, it brings the slots up to date with the
//     sockets that listen now.
//   - [Watch] does that for as long as it runs, whenever sockets come or go.
//   - [Detach] makes everything as it was before.
//
// Servers are not stopped, asked or changed, and no connection is touched:
// those that are established stay where they are, those in an accept queue stay
// in it. Nobody has to stay behind for the steering to go on.
//
// # Slots
//
// A listener has a slot, not a process: of nginx, the master and every worker
// hold all listeners, and each worker polls one. The process that serves it
// ([sockets.Server]) is noted with the slot. New groups number their slots by
// PID. A listener that is gone leaves its slot to the next new one, with weight,
// maximum and drain; if there is none, the slot is freed.
//
// # Connections that are older than their slot
//
// Those in an accept queue belong to the listener. Those that were accepted
// belong to the slot of the process that has them; where a process serves
// several slots, to the one whose listener is in the same epoll set, and if that
// tells nothing either, they are spread evenly. Connections of processes that
// serve no slot are not counted, and told ([Group.Unowned]).
//
// A connection stays in the count of the listener that it came through, also
// when another process serves that listener by now: after a reload of nginx, a
// slot counts what an old worker still has, until that ends.
//
// # Interruption
//
// Steering begins with one system call, after all slots are filled. A new group
// is undone when its making fails or its context ends. A process killed at any
// point leaves either the kernel's hash or all slots steered; Attach and Detach
// both complete what it left.
//
// # Errors
//
// Refusals wrap the sentinels of this package, or those of package loader:
// ErrMPTCP, ErrNotShared, ErrSteered, ErrFull. A missing privilege wraps
// loader.ErrNotSupported, a process or network namespace that isn't there
// os.ErrProcessDone or fs.ErrNotExist. Each is one line that ends with what to do.
package attachment
