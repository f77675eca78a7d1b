package control

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/sockdist/sockdist/userspace/sockets"
)

// ErrStranger is wrapped by the error of Run when somebody outside of the app
// listens on one of its ports.
var ErrStranger = errors.New("the port isn't ours alone")

func taken(where netip.AddrPort, by string) error {
	return fmt.Errorf("%s is taken by %s: end that one, or take another port: %w", where, by, ErrStranger)
}

// foreignListeners returns an error that names whoever listens on one of the
// ports with a socket that isn't ours, by cgroup or cookie: a stranger.
func foreignListeners(ports []uint16, leaves, standby map[uint64]bool) error {
	if len(ports) == 0 {
		return nil
	}
	found, err := sockets.Listeners(sockets.Address{})
	if err != nil {
		return fmt.Errorf("look whether the ports are free: %w", err)
	}
	for _, l := range found {
		if slices.Contains(ports, l.Address.Port()) && !leaves[l.Cgroup] && !standby[l.Cookie] {
			return taken(l.Address, l.Owners())
		}
	}
	return nil
}

// meetsStranger ends the app, before it serves, when somebody else listens
// where connections to the group go. The bind hook has refused the group's own
// address if it was taken; but a stranger with SO_REUSEPORT on 127.0.0.1, say,
// takes that part of the connections from workers on the wildcard address.
func (l *listeners) meetsStranger(g sockets.Group, found []sockets.Listener, ours map[uint64]*worker) bool {
	if l.announced[g] {
		return false
	}
	for _, other := range found {
		if ours[other.Cgroup] == nil && !l.standby[other.Cookie] && g.Overlaps(other.Group()) {
			l.fail(taken(other.Address, other.Owners()))
			return true
		}
	}
	return false
}

// strangers names those who listen on the port and aren't workers.
func (l *listeners) strangers(port uint16) string {
	found, err := sockets.Listeners(sockets.Address{})
	if err != nil {
		return "somebody"
	}
	var names []string
	homes := l.homes()
	for _, socket := range found {
		if socket.Address.Port() == port && homes[socket.Cgroup] == nil {
			names = append(names, socket.Owners())
		}
	}
	if len(names) == 0 {
		return "somebody who is gone by now"
	}
	return strings.Join(names, ", ")
}
