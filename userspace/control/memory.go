package control

import (
	"fmt"

	"github.com/sockdist/sockdist/internal/cgroup"
)

// enableLimits makes limits possible, if there is to be one.
func (s *Supervisor) enableLimits() error {
	if s.config.MemoryMax == 0 {
		return nil
	}
	if err := s.tree.EnableMemory(); err != nil {
		return fmt.Errorf("workers can't be limited to %d bytes of memory: %w", s.config.MemoryMax, err)
	}
	return nil
}

// limit keeps what runs in a leaf to the memory that a worker may have.
func (s *Supervisor) limit(leaf *cgroup.Leaf) error {
	if s.config.MemoryMax == 0 {
		return nil
	}
	return leaf.SetMemoryMax(s.config.MemoryMax)
}

// ranOutOfMemory tells whether the kernel killed in the leaf for its limit.
func (s *Supervisor) ranOutOfMemory(leaf *cgroup.Leaf) bool {
	if s.config.MemoryMax == 0 {
		return false
	}
	kills, err := leaf.OOMKills()
	return err == nil && kills > 0
}
