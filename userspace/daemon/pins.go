package daemon

import (
	"errors"
	"io/fs"

	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/loader"
)

// eachGroup does something with all groups that are pinned.
func eachGroup(host *loader.Host, do func(*loader.Group) error) error {
	names, err := host.Groups()
	if err != nil {
		return err
	}
	var all error
	for _, name := range names {
		g, err := host.Group(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it went meanwhile
		}
		if err == nil {
			err = do(g)
			g.Close()
		}
		all = errors.Join(all, err)
	}
	return all
}

// hasWorkers tells whether there is a cgroup of the app.
func hasWorkers(app string) bool {
	mount, err := cgroup.Find()
	return err == nil && cgroup.CheckName(app) == nil && mount.Has(app)
}
