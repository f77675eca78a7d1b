package loader

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
)

// Chooses tells whether a program, by its number as in Steerers, chooses among
// this group's sockets: its present program, or one from before a Host.Refresh.
//
// For any but the present one, and the one before, it takes CAP_SYS_ADMIN to
// look; without it the error wraps ErrNotSupported.
func (g *Group) Chooses(program uint32) (bool, error) {
	for _, pin := range []string{"steer", steerBefore} {
		if id, err := g.pinnedID(pin); err == nil && program != 0 && uint32(id) == program {
			return true, nil
		}
	}
	return uses(program, g.sockets)
}

func (g *Group) pinnedID(pin string) (ebpf.ProgramID, error) {
	p, err := loadProgram(filepath.Join(g.host.dir, "groups", g.name, pin))
	if err != nil {
		return 0, err
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return 0, err
	}
	id, _ := info.ID()
	return id, nil
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
