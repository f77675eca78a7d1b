package sockets

import (
	"fmt"
	"strings"
)

// Owners names the processes that hold the listener, for people: as far as they
// can be seen. It looks into every process of the machine.
func (l Listener) Owners() string {
	// Those that may not be looked into are just not named.
	holders, _ := Holders([]uint32{l.Inode})
	var names []string
	for _, holder := range holders[l.Inode] {
		names = append(names, fmt.Sprintf("%s (pid %d)", holder.Comm, holder.PID))
	}
	if len(names) == 0 {
		return fmt.Sprintf("a process of user %d", l.UID)
	}
	return strings.Join(names, ", ")
}
