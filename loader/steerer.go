package loader

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/cilium/ebpf"
)

// Chooses tells whether a program, by its number as in Steerers, chooses among
// this group's sockets: its present program, or one from before a Host.Refresh.
//
// For any but the present one it takes CAP_SYS_ADMIN to look; without it the
// error wraps ErrNotSupported.
func (g *Group) Chooses(program uint32) (bool, error) {
	if pinned, err := g.ProgramID(); err == nil && program != 0 && pinned == program {
		return true, nil
	}
	return uses(program, g.sockets)
}

// Chooses tells whether a program, by its number as in Steerers, is that of a
// group of the other version. The error wraps fs.ErrNotExist if there is no such group.
func (e *Earlier) Chooses(group string, program uint32) (chooses bool, err error) {
	defer wrap(&err, "%s group %s: compare programs", e.Layout, group)
	sockets, err := e.sockets(group)
	if err != nil {
		return false, err
	}
	defer sockets.Close()
	return uses(program, sockets)
}

// uses tells whether a program has the map. One that is gone has none.
func uses(program uint32, m *ebpf.Map) (bool, error) {
	if program == 0 {
		return false, nil
	}
	p, err := ebpf.NewProgramFromID(ebpf.ProgramID(program))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if errors.Is(err, fs.ErrPermission) {
		return false, &UnsupportedError{Feature: "telling whose program steers", Err: err, Advice: "run as root, or with CAP_SYS_ADMIN"}
	}
	if err != nil {
		return false, err
	}
	defer p.Close()
	has, err := p.Info()
	if err != nil {
		return false, err
	}
	info, err := m.Info()
	if err != nil {
		return false, err
	}
	id, _ := info.ID()
	maps, _ := has.MapIDs()
	return slices.Contains(maps, id), nil
}
