package control

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/sockdist/sockdist/userspace/sockets"
)

// Kernel is the kernel side of sockdist, as a supervisor sees it.
type Kernel interface {
	// Open puts the hooks for an app in place, and has its events kept from
	// then on. Nobody else looks after an app of the name: the cgroup is locked.
	// What an earlier supervisor left is of no use any more and is replaced; or,
	// with TakeOver, is in use: no pick and no count is lost, and whatever is
	// missing or of an older version is made anew.
	Open(App) (Steering, error)
}

// App says what the hooks are for.
type App struct {
	Name string
	// Cgroup is the absolute path of the app's cgroup. Workers live in leaves
	// below.
	Cgroup string
	// Ports are those that the workers share; none means every port that a
	// worker binds.
	Ports []uint16
	// TakeOver: workers run.
	TakeOver bool
}

// Steering is the kernel side of one app. Next is called by one goroutine, the
// other methods by several.
type Steering interface {
	// Next returns the next event, and waits for it. After Close or Detach it returns
	// an error that wraps os.ErrClosed.
	Next() (Event, error)

	// Adopt gives a worker's listener the slot in its group. The group is
	// made on first use. A slot whose socket has closed can be taken again,
	// and keeps what an operator set for it; a socket that was shut and listens
	// again, or has the slot still, keeps all. The descriptor is the caller's,
	// who closes it next: no copy of it may stay. An error that wraps
	// ErrNotListening says that the socket closed meanwhile, one that wraps
	// ErrUnable that no listener will ever get a slot.
	Adopt(slot int, g sockets.Group, l Listener) error

	// Release frees the slot, which won't be taken again, in the group.
	Release(slot int, g sockets.Group) error

	// Hold keeps connections from the slot in all groups, unless no other slot
	// is left. A slot that is in no group is no error.
	Hold(slot int, why Hold) error

	// Unhold ends what Hold began for these reasons.
	Unhold(slot int, why Hold) error

	// Excuse keeps connections from a slot in one group, because its worker asked
	// for it, or no longer. It is apart from Hold: neither undoes the other.
	Excuse(slot int, g sockets.Group, from bool) error

	// Report has the worker of a listener report its load from now on, until
	// another listener or process has the slot. It returns the group's name, and
	// a descriptor of the group's loads, for the worker to map; the caller closes
	// it.
	Report(slot int, g sockets.Group, cookie uint64) (group string, loads *os.File, err error)

	// Inherit gives one slot the weight and maximum that an operator set for
	// another, in all groups.
	Inherit(from, to int) error

	// Keep frees every slot that isn't among these.
	Keep(slots []int) error

	// Dial connects to the worker in a slot, whatever the policy would choose.
	Dial(ctx context.Context, slot int, g sockets.Group) (net.Conn, error)

	// Traffic returns what each slot has, in all groups together. Slots with
	// nothing may be missing.
	Traffic() (map[int]Traffic, error)

	// Glancer returns a function that tells whether Traffic is worth a look: whether
	// anything has happened since it was last called, or a worker's Beat has not
	// risen. It is quick, waits for nothing, and isn't for several goroutines at once.
	Glancer() func() bool

	// Restore makes anew what was lost behind our back, as when bpffs was
	// unmounted, and tells whether it did: then each listener has to be adopted
	// again. What an operator had set is forgotten.
	Restore() (restored bool, err error)

	// Recount compares what is counted with the connections that there are, and
	// returns by how many counts were wrong, and are right now.
	Recount() (corrected int, err error)

	// Unsteer leaves connections of the group to the kernel's own choice. The
	// descriptor is of a listener in it.
	Unsteer(g sockets.Group, fd int) error

	// Close gives the kernel side up as it is, and ends Next.
	Close() error

	// Detach removes the groups, the hooks and all that was pinned for them,
	// and ends Next.
	Detach() error
}

// ErrNotListening is wrapped by Steering.Adopt for a socket that doesn't
// listen any more.
var ErrNotListening = errors.New("not listening")

// ErrUnable is wrapped by Steering.Adopt when the kernel, or this user, can't
// steer. It ends Run unless some listener has a slot already.
var ErrUnable = errors.New("connections can't be steered here")

// Listener is a worker's listening socket.
type Listener struct {
	FD int
	// PID and Start (in clock ticks since boot) say who serves it, for
	// display.
	PID   int
	Start uint64
	// Cookie is the socket's number that is never given twice.
	Cookie uint64
	// Hold is what keeps connections from it at first.
	Hold Hold
}

// Hold is a set of reasons for which a slot gets no connections.
type Hold uint8

const (
	Starting Hold = 1 << iota // its worker isn't ready yet
	Hung                      // its worker doesn't accept
	Leaving                   // its worker finishes what it has, and goes
)

// String lists the reasons, as in "starting leaving".
func (h Hold) String() string {
	var words []string
	for i, word := range []string{"starting", "hung", "leaving"} {
		if h&(1<<i) != 0 {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

// Traffic is what a slot has.
type Traffic struct {
	// Connections are established, accepted or not.
	Connections uint64
	// Pending are picks whose handshake isn't finished.
	Pending uint64
	// Opened are the connections that ever came to be in the slot, less those
	// that left it for another when its listener closed.
	Opened uint64
	// Held are the reasons for which it gets no connections.
	Held Hold
	// Beat rises as long as the worker gets on; 0: it tells nothing of that.
	Beat uint64
}

// EventKind says what happened.
type EventKind int

const (
	// Listening: a process of the app began to listen.
	Listening EventKind = iota + 1
	// Closed: a listener of the app ended.
	Closed
	// Stranger: a worker was refused a port, because somebody outside of the
	// app listens there.
	Stranger
)

// Event tells of a listening socket.
type Event struct {
	Kind EventKind
	// Cookie is the socket's. A Stranger event has none.
	Cookie uint64
	// Cgroup is the ID of the worker's leaf. A Stranger event has none.
	Cgroup  uint64
	Address netip.AddrPort
}
