package membership

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/userspace/sockets"
)

// ErrStranger is wrapped when somebody outside of the group listens at its
// address.
var ErrStranger = errors.New("the address isn't the group's alone")

const (
	// leaveTries is how often Open looks again at one who may be a worker that has
	// left and is about to close its listener.
	leaveTries = 5
	leaveAgain = 100 * time.Millisecond
)

// strangers returns an error that names who listens where connections to the
// group go, and isn't in it. Those that have left it may take their time.
func (g *Group) strangers() error {
	all, err := sockets.Listeners(sockets.Address{})
	if err != nil {
		return fmt.Errorf("look whether the address is free: %w", err)
	}
	ours := g.cookies()
	left := make(map[uint64]bool)
	var stranger *sockets.Listener
	for _, l := range all {
		switch {
		case !g.place.Overlaps(l.Group()) || ours[l.Cookie]:
		case g.left[l.Cookie], g.isLeftOver(l):
			left[l.Cookie] = true
		default:
			stranger = &l
		}
	}
	maps.DeleteFunc(g.left, func(cookie uint64, _ bool) bool { return !left[cookie] })
	if stranger != nil {
		return fmt.Errorf("%s is taken by %s: end that one, or take another address: %w", stranger.Address, stranger.Owners(), ErrStranger)
	}
	return nil
}

// isLeftOver tells whether a listener is one that a daemon has made: of a worker
// that has left, or of a group that was removed and is configured again. It may
// join with it; until then it isn't picked.
func (g *Group) isLeftOver(l sockets.Listener) (made bool) {
	if l.Group() != g.place || int(l.UID) != os.Geteuid() {
		return false
	}
	holders, err := sockets.Holders([]uint32{l.Inode})
	if err != nil {
		return false
	}
	for _, holder := range holders[l.Inode] {
		s, err := l.Fetch(holder)
		if err != nil {
			continue
		}
		defer s.Close()
		locked, err := unix.GetsockoptInt(s.FD(), unix.SOL_SOCKET, unix.SO_LOCK_FILTER)
		return err == nil && locked != 0
	}
	return false
}

// cookies are those of the group's sockets. A standby that isn't ours any more
// is as strange as any.
func (g *Group) cookies() map[uint64]bool {
	ours := make(map[uint64]bool)
	if g.kernel != nil {
		for _, p := range g.kernel.Progress(nil) {
			ours[p.Cookie] = p.Slot != standbySlot
		}
	}
	if g.standby != nil {
		ours[g.standby.Cookie] = true
	}
	return ours
}

// noStrangers is strangers for the first time: nobody is known to have left.
func (g *Group) noStrangers() (err error) {
	for range leaveTries {
		if err = g.strangers(); !errors.Is(err, ErrStranger) {
			return err
		}
		time.Sleep(leaveAgain)
	}
	return err
}
