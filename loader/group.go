package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"github.com/cilium/ebpf"
)

// A GroupSpec says what a group is for.
type GroupSpec struct {
	Name    string         // see CheckName
	App     string         // of the app it belongs to; "" if none
	Address netip.AddrPort // where its sockets listen
	V6Only  bool           // an IPv6 wildcard that takes no IPv4 connections
	NetNS   uint64         // inode of the network namespace; for display, and to find the sockets again
	Policy  Policy
}

// A Group is the sockets of one SO_REUSEPORT group, and the program that
// chooses among them. It is safe for concurrent use, by several processes too.
type Group struct {
	host    *Host
	name    string
	folder  fs.FileInfo // of its pins, to tell it from a later group of the name
	sockets *ebpf.Map
	slots   *ebpf.Map
	loads   *ebpf.Map
	memory  *mapping[abiGroup]
	load    *mapping[abiLoads]
	empty   atomic.Uint64 // see noteEmpty
}

type groupObjects struct {
	Steer   *ebpf.Program `ebpf:"steer"`
	Sockets *ebpf.Map     `ebpf:"sockets"`
	Slots   *ebpf.Map     `ebpf:"slots"`
	Loads   *ebpf.Map     `ebpf:"loads"`
}

// CreateGroup makes an empty group. Nothing is steered before Steer. Errors
// wrap fs.ErrExist if the name is taken, ErrFull if there are MaxGroups, and
// ErrNotSupported.
func (h *Host) CreateGroup(spec GroupSpec) (g *Group, err error) {
	if err := CheckName(spec.Name); err != nil {
		return nil, err
	}
	defer wrap(&err, "create group %s", spec.Name)
	if err := spec.Policy.check(); err != nil {
		return nil, err
	}
	unlock, err := h.exclusive()
	if err != nil {
		return nil, err
	}
	defer unlock()

	if names, err := h.Groups(); err != nil {
		return nil, err
	} else if slices.Contains(names, spec.Name) {
		return nil, fs.ErrExist
	}
	maps, err := h.maps()
	if err != nil {
		return nil, err
	}
	defer maps.close()
	path := filepath.Join("groups", spec.Name)
	if err := h.build(path, func(tmp string) error { return h.pinGroup(tmp, spec, maps) }); err != nil {
		return nil, err
	}
	return h.openGroup(spec.Name)
}

func (h *Host) pinGroup(tmp string, spec GroupSpec, maps *hostMaps) error {
	var objects groupObjects
	if err := load(&objects, map[string]*ebpf.Map{"moved": maps.Moved, "probes": maps.Probes}); err != nil {
		return err
	}
	defer closeAll(objects.Steer, objects.Sockets, objects.Slots, objects.Loads)

	id, err := h.freeGroupID()
	if err != nil {
		return err
	}
	memory, err := mapValue[abiGroup](objects.Slots)
	if err != nil {
		return err
	}
	initGroup(memory.value, spec, id)
	if err := forgetMoves(maps.Moved, id); err != nil {
		return fmt.Errorf("forget an earlier group's moves: %w", err)
	}
	if err := maps.Groups.Put(id, objects.Slots); err != nil {
		return fmt.Errorf("register: %w", err)
	}
	return pinAll(tmp, map[string]pinner{
		"steer": objects.Steer, "sockets": objects.Sockets, "slots": objects.Slots, "loads": objects.Loads,
	})
}

// forgetMoves removes what is noted of connections that outlived a group with
// this number, for the new group doesn't know of them.
func forgetMoves(moved *ebpf.Map, id uint32) error {
	var old []uint64
	var cookie uint64
	var place abiOrigin
	all := moved.Iterate()
	for all.Next(&cookie, &place) {
		if place.Group == id {
			old = append(old, cookie)
		}
	}
	if err := all.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return err
	}
	for _, cookie := range old {
		if err := moved.Delete(cookie); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
	}
	return nil
}

func initGroup(m *abiGroup, spec GroupSpec, id uint32) {
	m.Id = id
	m.Blocks = 1
	m.Policy = uint32(spec.Policy)
	for i := range m.Slot {
		m.Slot[i].Max = noMax
		m.Info[i].Weight = DefaultWeight
	}
	address := spec.Address.Addr()
	m.Meta = abiGroupMeta{Name: nameBytes(spec.Name), App: nameBytes(spec.App), Address: address.As16(),
		Netns: spec.NetNS, Port: spec.Address.Port(), Ipv6: flag(address.Is6()), V6only: flag(spec.V6Only)}
}

// freeGroupID is the lowest index of the host's map that no group has.
func (h *Host) freeGroupID() (uint32, error) {
	names, err := h.Groups()
	if err != nil {
		return 0, err
	}
	taken := make(map[uint32]bool)
	for _, name := range names {
		g, err := h.openGroup(name)
		if err != nil {
			return 0, err
		}
		taken[g.memory.value.Id] = true
		g.Close()
	}
	for id := range uint32(MaxGroups) {
		if !taken[id] {
			return id, nil
		}
	}
	return 0, fmt.Errorf("%d groups: %w", MaxGroups, ErrFull)
}

// Group opens a group by name. The error wraps fs.ErrNotExist if there is none.
func (h *Host) Group(name string) (g *Group, err error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	defer wrap(&err, "open group %s", name)
	if g, err = h.openGroup(name); err != nil {
		return nil, err
	}
	if err := g.finish(); err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

// finish does what a killed process began.
func (g *Group) finish() error {
	if atomic.LoadUint32(&g.memory.value.Changing) == 0 {
		return nil
	}
	unlock, err := g.exclusive()
	if err == nil {
		unlock()
	}
	return err
}

func (h *Host) openGroup(name string) (g *Group, err error) {
	dir := filepath.Join(h.dir, "groups", name)
	g = &Group{host: h, name: name}
	defer func() {
		if err != nil {
			g.Close()
			g = nil
		}
	}()
	if g.folder, err = os.Stat(dir); err != nil {
		return g, err
	}
	for pin, m := range map[string]**ebpf.Map{"sockets": &g.sockets, "slots": &g.slots, "loads": &g.loads} {
		if *m, err = loadMap(filepath.Join(dir, pin)); err != nil {
			return g, err
		}
	}
	if g.memory, err = mapValue[abiGroup](g.slots); err != nil {
		return g, err
	}
	if g.load, err = mapValue[abiLoads](g.loads); err != nil {
		return g, err
	}
	return g, g.pinned() // not some pins of one group and some of another
}

// pinned gives fs.ErrNotExist if the group was removed since it was opened.
func (g *Group) pinned() error {
	return stillPinned(g.folder, filepath.Join(g.host.dir, "groups", g.name))
}

// exclusive is Host.exclusive for a change of this group, which must be there still.
func (g *Group) exclusive() (unlock func(), err error) {
	if err := g.pinned(); err != nil { // make no folder for a group that is no more
		return nil, err
	}
	unlock, err = g.host.exclusive()
	if err != nil {
		return nil, err
	}
	if err := g.pinned(); err != nil {
		err = errors.Join(err, g.host.removeIfEmpty())
		unlock()
		return nil, err
	}
	if atomic.LoadUint32(&g.memory.value.Changing) != 0 {
		g.memory.value.reweigh()
	}
	return unlock, nil
}

// Close gives the handle up; the group goes on.
func (g *Group) Close() error {
	closeAll(g.sockets, g.slots, g.loads)
	return nil
}

// Name is the group's name.
func (g *Group) Name() string { return g.name }

// Spec is what the group was created with, and its present policy.
func (g *Group) Spec() GroupSpec { return specOf(g.memory.value) }

func specOf(m *abiGroup) GroupSpec {
	address := netip.AddrFrom16(m.Meta.Address)
	if m.Meta.Ipv6 == 0 {
		address = address.Unmap()
	}
	return GroupSpec{Name: nameString(m.Meta.Name), App: nameString(m.Meta.App),
		Address: netip.AddrPortFrom(address, m.Meta.Port), V6Only: m.Meta.V6only != 0,
		NetNS: m.Meta.Netns, Policy: Policy(m.Policy)}
}

// Destroy removes the group from the kernel, and the host's accounting with the
// last one. Call Unsteer first: a program that is still attached would run
// on, with nothing to choose from. The handle must not be used any more but for Close.
func (g *Group) Destroy() (err error) {
	defer wrap(&err, "remove group %s", g.name)
	unlock, err := g.exclusive()
	if err != nil {
		return err
	}
	defer unlock()
	if err := g.host.discard(filepath.Join("groups", g.name)); err != nil {
		return err
	}
	if err := g.releaseSockets(); err != nil {
		return err
	}
	maps, err := g.host.pinnedMaps()
	if errors.Is(err, fs.ErrNotExist) {
		return g.host.removeIfEmpty() // the host's pins were removed before
	}
	if err != nil {
		return err
	}
	defer maps.close()
	if err := maps.Groups.Delete(g.memory.value.Id); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	return g.host.removeIfEmpty()
}

// releaseSockets lets the listeners go into another group at once. Otherwise
// they could when the kernel frees the array: some time after the last handle is closed.
func (g *Group) releaseSockets() error {
	for slot := range uint32(MaxSlots) {
		if err := g.sockets.Delete(slot); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("release socket of slot %d: %w", slot, err)
		}
	}
	return nil
}
