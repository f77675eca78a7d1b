package contender

import (
	"path/filepath"
	"sync"

	"github.com/sockdist/sockdist/loader"
)

// pins is the pin folder of all fleets that run, so that no other sockdist of
// the machine knows of them. It is one for all: each folder has accounting of
// its own, which sees every connection of the machine.
var pins struct {
	sync.Mutex
	users int
	host  *loader.Temporary
}

// usePins makes the folder unless somebody else uses it.
func usePins() (folder string, err error) {
	pins.Lock()
	defer pins.Unlock()
	if pins.users == 0 {
		if pins.host, err = loader.OpenTemporary("bench"); err != nil {
			return "", err
		}
	}
	pins.users++
	return filepath.Dir(pins.host.Dir()), nil
}

// leavePins removes the folder when its last user leaves.
func leavePins() error {
	pins.Lock()
	defer pins.Unlock()
	pins.users--
	if pins.users > 0 {
		return nil
	}
	return pins.host.Remove()
}
