package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// An Earlier is the pin folder of another version of sockdist, which lays its
// maps out in another way. Its programs go on choosing and counting for as long
// as it is there. Of what is in it only names are looked at, and the array of
// sockets, which every version has: never a count or a setting.
//
// To bring a group over without losing a connection: create it anew, Move each
// listener, Steer, Adopt, and then RemoveGroup. An app: create it anew, Own each
// listener, then RemoveApp. What the old one had been told by an operator
// (weights, drains, the policy) must be told again.
type Earlier struct {
	Layout string   // the folder's name, such as "v1"
	Groups []string // sorted
	Apps   []string // sorted

	host *Host // only what goes by names is used of it
}

var layoutName = regexp.MustCompile(`^v[0-9]+$`)

// Earlier finds the pin folders of other versions beside this one's.
func (h *Host) Earlier() (others []*Earlier, err error) {
	defer wrap(&err, "look for pins of other versions")
	entries, err := os.ReadDir(filepath.Dir(h.dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, explainPin(err)
	}
	for _, entry := range entries {
		if !entry.IsDir() || entry.Name() == filepath.Base(h.dir) || !layoutName.MatchString(entry.Name()) {
			continue
		}
		e := &Earlier{Layout: entry.Name(), host: &Host{dir: filepath.Join(filepath.Dir(h.dir), entry.Name())}}
		var err1, err2 error
		e.Groups, err1 = e.host.Groups()
		e.Apps, err2 = e.host.Apps()
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		others = append(others, e)
	}
	return others, nil
}

// Ruins gives what is needed to remove groups and apps of this version that
// can't be opened, because somebody removed some of their pins.
func (h *Host) Ruins() *Earlier { return &Earlier{Layout: filepath.Base(h.dir), host: h} }

// Sockets are the cookies of the sockets that the group chooses among, and
// their slots. The error wraps fs.ErrNotExist if there is no such group.
func (e *Earlier) Sockets(group string) (slots map[uint64]int, err error) {
	defer wrap(&err, "%s group %s: read sockets", e.Layout, group)
	sockets, err := e.sockets(group)
	if err != nil {
		return nil, err
	}
	defer sockets.Close()
	return socketsIn(sockets)
}

func (e *Earlier) sockets(group string) (*ebpf.Map, error) {
	if err := CheckName(group); err != nil {
		return nil, err
	}
	sockets, err := ebpf.LoadPinnedMap(filepath.Join(e.host.dir, "groups", group, "sockets"), nil)
	if err != nil {
		return nil, err
	}
	if sockets.Type() != ebpf.ReusePortSockArray || sockets.ValueSize() != 8 {
		sockets.Close()
		return nil, fmt.Errorf("%s: not an array of sockets: %w", sockets, unix.EPROTO)
	}
	return sockets, nil
}

func socketsIn(sockets *ebpf.Map) (map[uint64]int, error) {
	slots := make(map[uint64]int)
	for slot := range sockets.MaxEntries() {
		var cookie uint64
		err := sockets.Lookup(slot, &cookie)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil, err
		}
		if err == nil {
			slots[cookie] = int(slot)
		}
	}
	return slots, nil
}

// Move takes a listener out of a group of the other version and adds it to one
// of this: see Add. In between, and until Steer, connections go to the
// listeners that the old group still has, or by the kernel's hash. If it can't
// be added the old group has it again. A listener that the old group does not
// have is just added.
func (e *Earlier) Move(group string, to *Group, slot int, l Listener) (got int, err error) {
	defer wrap(&err, "%s group %s: move socket", e.Layout, group)
	cookie, err := checkListener(l.FD)
	if err != nil {
		return 0, err
	}
	unlock, err := e.host.exclusive()
	if err != nil {
		return 0, err
	}
	defer unlock()
	sockets, err := e.sockets(group)
	if err != nil {
		return 0, errors.Join(err, e.host.removeIfEmpty())
	}
	defer sockets.Close()
	slots, err := socketsIn(sockets)
	if err != nil {
		return 0, err
	}
	old, had := slots[cookie]
	if had {
		if err := sockets.Delete(uint32(old)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return 0, fmt.Errorf("take it out of slot %d: %w", old, err)
		}
	}
	got, err = to.Add(slot, l)
	if err != nil && had {
		err = errors.Join(err, sockets.Put(uint32(old), uint64(l.FD)))
	}
	return got, err
}

// RemoveGroup removes a group of the other version, and with the last of its
// groups and apps all of that version. Its listeners must have been moved and
// be steered by their new group; others are left to the kernel's hash. The error
// wraps fs.ErrNotExist if there is no such group.
func (e *Earlier) RemoveGroup(name string) error {
	return e.remove("group", name, func() error {
		sockets, err := e.sockets(name)
		if errors.Is(err, fs.ErrNotExist) {
			return e.host.discard(filepath.Join("groups", name)) // if it is there, in part
		}
		if err != nil {
			return err
		}
		defer sockets.Close()
		if err := e.host.discard(filepath.Join("groups", name)); err != nil {
			return err
		}
		left, err := socketsIn(sockets)
		for _, slot := range left {
			if failed := sockets.Delete(uint32(slot)); !errors.Is(failed, ebpf.ErrKeyNotExist) {
				err = errors.Join(err, failed)
			}
		}
		return err
	})
}

// RemoveApp detaches the hooks of an app of the other version, and removes with
// the last of its groups and apps all of that version. The error wraps
// fs.ErrNotExist if there is no such app.
func (e *Earlier) RemoveApp(name string) error {
	return e.remove("app", name, func() error {
		hooks, err := e.links(filepath.Join("apps", name))
		if err != nil {
			return err
		}
		defer closeLinks(hooks)
		if err := e.host.discard(filepath.Join("apps", name)); err != nil {
			return err
		}
		for _, hook := range hooks {
			if err := hook.Detach(); err != nil {
				return fmt.Errorf("detach: %w", err)
			}
		}
		return nil
	})
}

func (e *Earlier) remove(kind, name string, remove func() error) (err error) {
	defer wrap(&err, "remove %s %s %s", e.Layout, kind, name)
	if err := CheckName(name); err != nil {
		return err
	}
	unlock, err := e.host.exclusive()
	if err != nil {
		return err
	}
	defer unlock()
	return errors.Join(remove(), e.host.removeIfEmpty())
}

// links opens those of a folder's pins that are links.
func (e *Earlier) links(path string) (links []link.Link, err error) {
	dir := filepath.Join(e.host.dir, path)
	pins, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, pin := range pins {
		found, err := link.LoadPinnedLink(filepath.Join(dir, pin.Name()), nil)
		if err == nil {
			links = append(links, found)
		}
	}
	return links, nil
}
