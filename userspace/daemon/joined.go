package daemon

import (
	"errors"
	"fmt"

	"github.com/sockdist/sockdist/userspace/membership"
	"github.com/sockdist/sockdist/userspace/wire"
)

// groupOf finds the open group that a worker means, by name or by address.
func (d *Daemon) groupOf(j *wire.Join) (*membership.Group, error) {
	if j == nil {
		return nil, errors.New("the request says not what to join")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, g := range d.groups {
		open, err := g.present()
		if err != nil && name == j.Group {
			return nil, fmt.Errorf("group %s is not open: %w", name, err)
		}
		if err == nil && open != nil && open.Matches(*j) {
			return open, nil
		}
	}
	if j.Group != "" {
		return nil, fmt.Errorf("no group is called %q: add it to the configuration of sockdist serve", j.Group)
	}
	return nil, fmt.Errorf("no group listens at %s %s: add one to the configuration of sockdist serve", j.Network, j.Address)
}
