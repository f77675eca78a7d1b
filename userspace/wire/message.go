package wire

// The verbs of an operator's Request.
const (
	Reload = "reload" // replace every worker; AtOnce
	Scale  = "scale"  // to Workers
	Stop   = "stop"   // end the app
	Leave  = "leave"  // end the supervisor, and nothing else: another one takes over
	Ping   = "ping"   // nothing: is somebody there?
	Apply  = "apply"  // the daemon reads its file again
)

// The verbs of a library worker's session.
const (
	JoinGroup = "join"    // first of all, with the worker's listener if it has one
	Drain     = "drain"   // no more picks for the worker's slot
	Undrain   = "undrain" // picks again
	Quit      = "quit"    // free the slot; the listener is closed, or will be at once
)

// Request is what a client wants.
type Request struct {
	Version int    `json:"version"`
	Verb    string `json:"verb"`
	Workers int    `json:"workers,omitempty"`
	AtOnce  bool   `json:"at_once,omitempty"`
	// Check: apply only says what it would do.
	Check bool `json:"check,omitempty"`
	// App is which of a daemon's apps is meant by reload, scale and stop.
	App string `json:"app,omitempty"`
	// Join belongs to the verb JoinGroup.
	Join *Join `json:"join,omitempty"`
}

// Join says where a worker wants to listen.
type Join struct {
	// Group by its name; empty: the one of the address.
	Group string `json:"group,omitempty"`
	// Network is tcp, tcp4 or tcp6.
	Network string `json:"network,omitempty"`
	// Address is HOST:PORT, as the worker's author wrote it; HOST may be empty.
	Address string `json:"address,omitempty"`
}

// Reply is what the supervisor or the daemon says.
type Reply struct {
	Version int `json:"version"`
	// Say is a line about the progress.
	Say string `json:"say,omitempty"`
	// Done: it was the last reply to the request, which failed if Error isn't
	// empty.
	Done  bool   `json:"done,omitempty"`
	Error string `json:"error,omitempty"`
	// Busy: nothing was wrong with the request, but too many come at once, or the
	// daemon is just beginning. Ask again, a little later.
	Busy bool `json:"busy,omitempty"`
	// Output are the last lines of a worker that is to blame.
	Output []string `json:"output,omitempty"`
	// Seat is the answer to a worker that has joined.
	Seat *Seat `json:"seat,omitempty"`
	// Bring, which isn't Done: the worker shall listen itself, at a plain
	// listener that shares its port, without MPTCP, and join again with it.
	Bring bool `json:"bring,omitempty"`
}

// Seat is a worker's place.
type Seat struct {
	Group string `json:"group"`
	Slot  int    `json:"slot"`
	// Address is where the worker listens.
	Address string `json:"address"`
	// Descriptors says which come along, in this order.
	Descriptors []string `json:"descriptors,omitempty"`
}

// The names in Seat.Descriptors.
const (
	FileListener = "listener" // made for the worker, which brought none
	FileLoads    = "loads"    // the group's loads, to be mapped: a cache line a slot
)
