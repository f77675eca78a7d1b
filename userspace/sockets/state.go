package sockets

import "fmt"

// State is a TCP socket's state, by the kernel's numbers.
type State uint8

// The states of a TCP socket. TimeWait is what the kernel keeps of a closed
// socket, whichever state of the protocol that remnant is in.
const (
	Established State = iota + 1
	SynSent
	SynReceived
	FinWait1
	FinWait2
	TimeWait
	Closed
	CloseWait
	LastAck
	Listen
	Closing
)

var stateNames = [...]string{
	Established: "established",
	SynSent:     "syn-sent",
	SynReceived: "syn-recv",
	FinWait1:    "fin-wait-1",
	FinWait2:    "fin-wait-2",
	TimeWait:    "time-wait",
	Closed:      "closed",
	CloseWait:   "close-wait",
	LastAck:     "last-ack",
	Listen:      "listen",
	Closing:     "closing",
}

// String returns the name that ss(8) gives the state.
func (s State) String() string {
	if int(s) < len(stateNames) && stateNames[s] != "" {
		return stateNames[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// bit is the state's place in the kernel's sets of states.
func (s State) bit() uint32 { return 1 << s }
