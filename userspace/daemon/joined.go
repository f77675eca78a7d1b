package daemon

import (
	"errors"
	"fmt"
	"os"

	"github.com/sockdist/sockdist/userspace/membership"
	"github.com/sockdist/sockdist/userspace/wire"
)

// errNotYet is wrapped where it may be otherwise in a moment.
var errNotYet = errors.New("not yet")

// groupOf finds the group that a worker means, by name or by address.
func (d *Daemon) groupOf(j *wire.Join) (*group, error) {
	if j == nil {
		return nil, errors.New("the request says not what to join")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, g := range d.groups {
		if d.membership(g.known()).Matches(*j) {
			return g, nil
		}
	}
	if !d.begun.Load() {
		return nil, fmt.Errorf("the daemon is just beginning, and has %w opened its groups", errNotYet)
	}
	if j.Group != "" {
		return nil, fmt.Errorf("no group is called %q: add it to the configuration of sockdist serve", j.Group)
	}
	return nil, fmt.Errorf("no group listens at %s %s: add one to the configuration of sockdist serve", j.Network, j.Address)
}

// openFor returns the open group. If the worker's own listener is what keeps it
// from being opened, that won't be so at the next try.
func (g *group) openFor(p *wire.Peer, files []*os.File) (*membership.Group, error) {
	open, err := g.present()
	if err == nil {
		return open, nil
	}
	settings := g.known()
	if errors.Is(err, membership.ErrStranger) && len(files) > 0 {
		if err := g.daemon.membership(settings).Present(p, files); err != nil {
			return nil, fmt.Errorf("join %s: %w", settings.Name, err)
		}
		g.retry()
	}
	return nil, fmt.Errorf("group %s is %w open: %w", settings.Name, errNotYet, err)
}
