package membership

import (
	"fmt"
	"os"

	"github.com/sockdist/sockdist/userspace/wire"
)

// Present is for a worker that brings its listener to a group which Open refuses
// with ErrStranger, as that very listener is in the way: an ordinary one, of
// before the daemon. If the worker may join, its listener becomes like those that the
// daemon makes: of the daemon's user, beside whom nobody else can bind, and with
// filters locked. Then Open takes it for one of the group's, and the worker can join with
// it. Connections that it has had by then are not counted.
//
// The error wraps ErrNotAllowed or ErrListener.
func (c Config) Present(p *wire.Peer, files []*os.File) error {
	if err := c.complete(); err != nil {
		return err
	}
	if !c.lets(p) {
		return notAllowed(p)
	}
	if len(files) != 1 {
		return fmt.Errorf("%w: %d descriptors came, one is needed", ErrListener, len(files))
	}
	g := &Group{name: c.Name, place: c.place(), config: c}
	if err := g.readNamespace(); err != nil {
		return err
	}
	return withFile(files[0], func(fd int) error { return g.take(fd, p) })
}

// take makes a worker's listener the daemon's.
func (g *Group) take(fd int, p *wire.Peer) error {
	d, err := g.check(fd, true)
	if err != nil {
		return err
	}
	if d.UID != p.UID && int(d.UID) != os.Geteuid() {
		return fmt.Errorf("%w: it was made by user %d, and brought by user %d", ErrListener, d.UID, p.UID)
	}
	if err := own(fd, d); err != nil {
		return err
	}
	return release(fd, false)
}
