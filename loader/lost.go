package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf/link"
)

// Lost tells that pins of the group, or those of the host's accounting, are no
// longer where they were: somebody removed them, or bpffs was unmounted. See
// "What holds what" in the package's documentation for what goes on then. To
// repair it: Unsteer, Close, and create the group anew.
func (g *Group) Lost() bool {
	return g.pinned() != nil || g.host.lost(append(accountNames(),
		"groups/"+g.name+"/steer", "groups/"+g.name+"/sockets", "groups/"+g.name+"/slots", "groups/"+g.name+"/loads"))
}

// Lost is the same for an app, its hooks and its events. The hooks and the
// accounting go on until the handle is closed.
func (a *App) Lost() bool {
	pins := append(accountNames(), "apps/"+a.name+"/app", "apps/"+a.name+"/events")
	for _, hook := range hookNames {
		pins = append(pins, "apps/"+a.name+"/"+hook)
	}
	return a.pinned() != nil || a.host.lost(pins)
}

func accountNames() []string { return []string{"host/account", "host/account_again"} }

func (h *Host) lost(pins []string) bool {
	for _, pin := range pins {
		if _, err := os.Lstat(filepath.Join(h.dir, pin)); err != nil {
			return true
		}
	}
	return false
}

// stillPinned gives fs.ErrNotExist if the folder is not the one that was opened.
func stillPinned(folder fs.FileInfo, path string) error {
	now, err := os.Stat(path)
	if err == nil && !os.SameFile(folder, now) {
		err = fs.ErrNotExist
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("its pins are gone (it was removed, or bpffs unmounted), make it anew: %w", err)
	}
	return err
}

// hold opens links, so that what they attach outlives their pins.
func (h *Host) hold(pins ...string) (held []link.Link, err error) {
	for _, pin := range pins {
		l, err := loadLink(filepath.Join(h.dir, pin))
		if err != nil {
			closeLinks(held)
			return nil, err
		}
		held = append(held, l)
	}
	return held, nil
}
