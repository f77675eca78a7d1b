// Package wire is what the command line and library workers say to a
// supervisor or to the daemon, and hear from it: over a unix socket of type
// SEQPACKET, one JSON object a packet, descriptors beside it.
//
// An operator connects, sends one [Request], and reads [Reply] packets: any
// number that only say what is going on, then one that is Done. The end of the
// connection before that means that the other side died. A client that goes
// away stops nothing of what it asked for.
//
// A library worker connects and sends a [Join]. That begins a session: each
// request gets one Reply, until one of both closes the connection.
//
// Both sides send their [Version]; a server refuses what it doesn't know with a
// reply that any version can read. What is new within a version is a field that
// may be missing.
package wire

// Version of the protocol.
const Version = 1

const (
	// MaxMessage is the largest reply, in bytes.
	MaxMessage = 64 << 10
	// MaxRequest is the largest request, in bytes.
	MaxRequest = 8 << 10
	// MaxFiles is how many descriptors a packet may bring along.
	MaxFiles = 4
)
