package worker

import (
	"log/slog"
	"os"
	"time"
)

// Names of environment variables.
const (
	// SocketVariable names the control socket of the daemon, or of `sockdist run`.
	SocketVariable = "SOCKDIST_SOCKET"
	// GroupVariable names the group. Without it the address decides.
	GroupVariable = "SOCKDIST_GROUP"
)

// LoadKind is what a Listener's load counts by itself.
type LoadKind int

const (
	// Excess is the requests in flight beyond one a connection: the sum of
	// requests − 1 over the connections that have any. The kernel counts connections
	// already, so the sum of both is what the worker has in its hands. With HTTP/1
	// it stays 0.
	Excess LoadKind = iota
	// InFlight is all requests in flight: then idle connections weigh less
	// than busy ones.
	InFlight
	// Manual is nothing: the load is the program's own.
	Manual
)

// Option is a choice for [Listen] and [Run].
type Option func(*options)

type options struct {
	socket, group string
	log           *slog.Logger
	kind          LoadKind
	latencyUnit   time.Duration
	rebalance     *Rebalance
	stall         time.Duration
	grace         time.Duration
}

func gather(opts []Option) options {
	o := options{
		socket: os.Getenv(SocketVariable),
		group:  os.Getenv(GroupVariable),
		log:    slog.Default(),
		grace:  30 * time.Second,
	}
	for _, option := range opts {
		option(&o)
	}
	return o
}

// WithSocket joins through the control socket at path, whatever SOCKDIST_SOCKET
// says. Empty: don't join.
func WithSocket(path string) Option { return func(o *options) { o.socket = path } }

// WithGroup joins the group of that name, whatever SOCKDIST_GROUP says.
func WithGroup(name string) Option { return func(o *options) { o.group = name } }

// WithLogger has the library log there instead of to [slog.Default]: what it joined,
// a daemon that is gone, one that is back. Nothing is logged per connection.
func WithLogger(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// WithLoad chooses what the load counts by itself.
func WithLoad(kind LoadKind) Option { return func(o *options) { o.kind = kind } }

// WithSchedulerLatency adds to the load how long goroutines of this process wait
// for a processor: 1 per unit. It is the mean of all waits (/sched/latencies:seconds of
// runtime/metrics), looked at every 100 ms and smoothed exponentially with a
// time constant of 1 s. So it shows requests that burn CPU, which are in flight as short
// as others. A unit of 1 ms is a good one to begin with.
func WithSchedulerLatency(unit time.Duration) Option {
	return func(o *options) { o.latencyUnit = max(unit, 0) }
}

// WithStall stops the heartbeat when requests are in flight and for d none was
// finished and no connection accepted, so that the daemon ejects a worker that is stuck
// on a lock or a dead backend. d must be longer than any request takes; requests that ask
// for an upgrade (WebSocket) don't count. 0, the default: off.
func WithStall(d time.Duration) Option { return func(o *options) { o.stall = max(d, 0) } }

// WithGrace is how long [Run] takes at most from the signal to its end, drain and all.
// 30 s by default.
func WithGrace(d time.Duration) Option { return func(o *options) { o.grace = d } }
