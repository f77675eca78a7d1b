package loader

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// Forget takes the group's mark off a listener that leaves it: connections born
// from now on belong to no slot. Remove its slot, or Unsteer the group, first.
// What a bind hook noted stays. It is no error if the listener has no mark, or
// another group's.
func (g *Group) Forget(fd int) (err error) {
	defer wrap(&err, "group %s: forget socket", g.name)
	unlock, err := g.exclusive()
	if err != nil {
		return err
	}
	defer unlock()
	maps, err := g.host.pinnedMaps()
	if err != nil {
		return err
	}
	defer maps.close()

	var origin abiOrigin
	err = maps.Origins.Lookup(int32(fd), &origin)
	switch {
	case errors.Is(err, ebpf.ErrKeyNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("read socket storage: %w", err)
	case origin.Generation == 0 || origin.Group != g.memory.value.Id:
		return nil
	case origin.App == 0 && origin.Reuseport == 0:
		err = maps.Origins.Delete(int32(fd))
	default:
		origin.Group, origin.Generation, origin.Slot = 0, 0, 0
		err = maps.Origins.Put(int32(fd), &origin)
	}
	if err != nil {
		return fmt.Errorf("clear socket storage: %w", err)
	}
	return nil
}
