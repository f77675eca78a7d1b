// Package wire is what the command line says to the supervisor of an app, and
// hears from it: over a unix socket of type SEQPACKET, one JSON object a packet.
//
// A client connects, sends one [Request], and reads [Reply] packets: any number
// that only say what is going on, then one that is Done. The end of the
// connection before that means that the supervisor died. A client that goes away
// stops nothing of what it asked for.
//
// Both sides send their [Version]; a server refuses what it doesn't know with a
// reply that any version can read.
package wire

// Version of the protocol.
const Version = 1

// MaxMessage is the largest packet, in bytes.
const MaxMessage = 64 << 10

// The verbs of a Request.
const (
	Reload = "reload" // replace every worker; AtOnce
	Scale  = "scale"  // to Workers
	Stop   = "stop"   // end the app
	Leave  = "leave"  // end the supervisor, and nothing else: another one takes over
	Ping   = "ping"   // nothing: is somebody there?
)

// Request is what a client wants.
type Request struct {
	Version int    `json:"version"`
	Verb    string `json:"verb"`
	Workers int    `json:"workers,omitempty"`
	AtOnce  bool   `json:"at_once,omitempty"`
}

// Reply is what the supervisor says.
type Reply struct {
	Version int `json:"version"`
	// Say is a line about the progress.
	Say string `json:"say,omitempty"`
	// Done: it was the last reply. The request failed if Error isn't empty.
	Done  bool   `json:"done,omitempty"`
	Error string `json:"error,omitempty"`
	// Output are the last lines of a worker that is to blame.
	Output []string `json:"output,omitempty"`
}
