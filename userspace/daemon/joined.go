package daemon

import (
	"errors"
	"fmt"

	"github.com/sockdist/sockdist/userspace/membership"
	"github.com/sockdist/sockdist/userspace/wire"
)

// errNotYet is wrapped where it may be otherwise in a moment.
var errNotYet = errors.New("not yet")

// groupOf finds the open group that a worker means, by name or by address.
func (d *Daemon) groupOf(j *wire.Join) (*membership.Group, error) {
	if j == nil {
		return nil, errors.New("the request says not what to join")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, g := range d.groups {
		settings := g.known()
		if !(membership.Config{Name: name, Listen: settings.Listen}).Matches(*j) {
			continue
		}
		open, err := g.present()
		if err != nil {
			return nil, fmt.Errorf("group %s is %w open: %w", name, errNotYet, err)
		}
		return open, nil
	}
	if !d.begun.Load() {
		return nil, fmt.Errorf("the daemon is just beginning, and has %w opened its groups", errNotYet)
	}
	if j.Group != "" {
		return nil, fmt.Errorf("no group is called %q: add it to the configuration of sockdist serve", j.Group)
	}
	return nil, fmt.Errorf("no group listens at %s %s: add one to the configuration of sockdist serve", j.Network, j.Address)
}
