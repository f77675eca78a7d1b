package ledger

import (
	"fmt"
	"net/netip"
	"time"
)

// Column is what became of a connection. Every connection has exactly one.
type Column int

const (
	// Answered is the good end: the whole answer came, was right, and nothing
	// came after it. A held connection is answered if all of its questions were
	// and the client closed it.
	Answered Column = iota
	// Refused connections got a RST for their SYN.
	Refused
	// ResetBeforeAccept connections were open and ended, by RST or FIN, without
	// a whole answer, and no worker had accepted them. Before Balance all resets
	// are here.
	ResetBeforeAccept
	// ResetAfterAccept are those that a worker had accepted.
	ResetAfterAccept
	// TimedOut connections stayed silent for Load.Timeout.
	TimedOut
	// Wrong answers came, and were not those to expect, or one too many.
	Wrong
)

var columns = [...]string{"answered", "refused", "reset before accept", "reset after accept", "timed out", "wrong answer"}

// String returns the column's head.
func (c Column) String() string { return columns[c] }

// MarshalText writes the column's head into JSON.
func (c Column) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Phase is how far a connection had come when it ended.
type Phase int

const (
	// Connecting is before the handshake ended at the client.
	Connecting Phase = iota
	// Asking is when the question has been sent and no answer has begun.
	Asking
	// Answering is when a part of the answer has come.
	Answering
	// Idle is when nothing is asked: between the questions of a held connection,
	// or after the answer of another.
	Idle
)

var phases = [...]string{"connecting", "asking", "answering", "idle"}

// String returns the phase in a word.
func (p Phase) String() string { return phases[p] }

// MarshalText writes the phase into JSON.
func (p Phase) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Unknown is a slot that the server didn't tell.
const Unknown = -1

// Worker is what a server says of itself in an answer.
type Worker struct {
	PID  int // of the process that answered; 0: none did
	Slot int // 0 … 255 as in its environment, or Unknown
}

// Entry is one connection.
type Entry struct {
	// Number is the connection's own: no other of the book has it.
	Number uint64
	// Held is for one that stays open and is asked now and then.
	Held bool
	// Local is the client's end, which the server sees as its peer.
	Local netip.AddrPort
	// Due is when it was to be opened, Started when it was, Connected when the
	// handshake ended (0: never), and Ended when the answer or the failure came;
	// of a held one that ended well, when the client closed it.
	Due, Started, Connected, Ended Moment
	Column                         Column
	Phase                          Phase
	// Answered is how many questions got the right answer, and Slowest the
	// longest wait for one, from the Moment when the question was due.
	Answered int
	Slowest  time.Duration
	// Worker gave the last right answer.
	Worker Worker
	// Err is nil if the Column is Answered.
	Err error

	// What follows comes from the records, by Balance.

	// AcceptedBy is the process that accepted it; 0: none, as far as records say.
	AcceptedBy int
	// Accepted is when.
	Accepted Moment
	// InHands is set if no record says that it was accepted, but a worker was
	// killed in that moment and may have come as far as accepting it, and no
	// further. See Kill.
	InHands bool
}

// Latency is how long the client waited, from when the connection was due; of
// a held connection, for its slowest answer.
func (e *Entry) Latency() time.Duration {
	if e.Held {
		return e.Slowest
	}
	return e.Ended.Sub(e.Due)
}

// late is by how much the client was too late itself.
func (e *Entry) late() time.Duration { return e.Started.Sub(e.Due) }

func (e *Entry) wasReset() bool {
	return e.Column == ResetBeforeAccept || e.Column == ResetAfterAccept
}

func (e *Entry) String() string {
	kind := ""
	if e.Held {
		kind = "held "
	}
	text := fmt.Sprintf("%sconnection %d from %s: %s while %s, %v after it was opened",
		kind, e.Number, e.Local, e.Column, e.Phase, e.Ended.Sub(e.Started).Round(time.Microsecond))
	switch {
	case e.InHands:
		text += fmt.Sprintf("; in the hands of process %d when that was killed", e.AcceptedBy)
	case e.AcceptedBy != 0:
		text += fmt.Sprintf("; process %d had accepted it after %v", e.AcceptedBy, e.Accepted.Sub(e.Started).Round(time.Microsecond))
	case e.Column != Answered:
		text += "; accepted by nobody"
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}
