package sockets

import (
	"time"

	"github.com/sockdist/sockdist/userspace/health/rounds"
)

// surveys are lists of all listeners, by the inode of the network namespace.
var surveys rounds.Sights[uint64, []Listener]

// ListenersSince returns all listeners of the calling thread's network namespace,
// as Listeners does, as they were at some moment after the given one. All who ask
// for about the same moment, as many do who have their turn together, share the
// answer, which nobody may change.
func ListenersSince(moment time.Time) ([]Listener, error) {
	netns, _, err := NetNSOf(0)
	if err != nil {
		return nil, err
	}
	return surveys.Since(moment, netns, func() ([]Listener, error) { return Listeners(Address{}) })
}
