package contender

import "github.com/sockdist/sockdist/internal/cgroup"

// branchOf is where the workers of an app of sockdist run live, or will.
func branchOf(app string) (b cgroup.Branch, err error) {
	mount, err := cgroup.Find()
	if err != nil {
		return b, err
	}
	return mount.Branch(app), nil
}
