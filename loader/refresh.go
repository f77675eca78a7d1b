package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Refresh brings the pinned programs to those of this binary, after an upgrade.
// It returns how many it replaced; one that is the same is left alone. No
// connection goes uncounted or unpicked meanwhile, and an interrupted Refresh
// leaves programs old and new, all of which work: call it again.
//
// Sockets are steered by a group's old program until the group is Steered
// again; see ProgramID.
func (h *Host) Refresh() (replaced int, err error) { return h.refresh(load) }

// A loadFunc is load, or load of another variant of the programs.
type loadFunc func(objects any, replace map[string]*ebpf.Map) error

func (h *Host) refresh(load loadFunc) (replaced int, err error) {
	defer wrap(&err, "replace programs")
	// Where nothing is pinned nothing is made: the folder may be claimed, and
	// would be removed again here (see Claim).
	if _, err := os.Stat(filepath.Join(h.dir, "host")); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	unlock, err := h.exclusive()
	if err != nil {
		return 0, err
	}
	defer unlock()
	maps, err := h.pinnedMaps()
	if errors.Is(err, fs.ErrNotExist) {
		return 0, h.removeIfEmpty()
	}
	if err != nil {
		return 0, err
	}
	defer maps.close()
	r := &refreshing{host: h, maps: maps, load: load}
	err = errors.Join(r.accounting(), r.each(h.Groups, r.group), r.each(h.Apps, r.app))
	return r.replaced, err
}

type refreshing struct {
	host     *Host
	maps     *hostMaps
	load     loadFunc
	steer    string // tag of this binary's steer, once it was loaded: maps are not in it, so all groups have the same
	replaced int
}

func (r *refreshing) each(list func() ([]string, error), one func(name string) error) error {
	names, err := list()
	for _, name := range names {
		if failed := one(name); failed != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", name, failed))
		}
	}
	return err
}

// accounting attaches the new programs before it lets go of the old: what both
// see counts once (see bpf/account.h).
func (r *refreshing) accounting() error {
	var objects struct {
		Account      *ebpf.Program `ebpf:"account"`
		AccountAgain *ebpf.Program `ebpf:"account_again"`
	}
	err := r.load(&objects, map[string]*ebpf.Map{"origins": r.maps.Origins, "moved": r.maps.Moved,
		"probes": r.maps.Probes, "groups": r.maps.Groups, "apps": r.maps.Apps})
	if err != nil {
		return err
	}
	defer closeAll(objects.Account, objects.AccountAgain)
	for name, program := range map[string]*ebpf.Program{"account": objects.Account, "account_again": objects.AccountAgain} {
		path := filepath.Join("host", name)
		if same, err := r.linkRuns(path, program); same || err != nil {
			if err != nil {
				return err
			}
			continue
		}
		attached, err := link.AttachTracing(link.TracingOptions{Program: program})
		if err != nil {
			return fmt.Errorf("attach %s: %w", name, err)
		}
		err = r.repin(path, attached)
		attached.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// group replaces the pin; the sockets have the old program until they are steered again.
func (r *refreshing) group(name string) error {
	g, err := r.host.openGroup(name)
	if err != nil {
		return err
	}
	defer g.Close()
	pinned, err := g.program()
	if err != nil {
		return err
	}
	defer pinned.Close()
	info, err := pinned.Info()
	if err != nil || info.Tag == r.steer {
		return err
	}
	var objects struct {
		Steer *ebpf.Program `ebpf:"steer"`
	}
	err = r.load(&objects, map[string]*ebpf.Map{"sockets": g.sockets, "slots": g.slots, "loads": g.loads,
		"moved": r.maps.Moved, "probes": r.maps.Probes})
	if err != nil {
		return err
	}
	defer objects.Steer.Close()
	ours, err := objects.Steer.Info()
	if err != nil {
		return err
	}
	if r.steer = ours.Tag; info.Tag == r.steer {
		return nil
	}
	// A second pin tells later, and to whom may not ask the kernel, that the old
	// one is ours. Only a clone can have it: pinning another time is moving.
	before, err := pinned.Clone()
	if err != nil {
		return err
	}
	defer before.Close()
	if err := r.replacePin(filepath.Join("groups", name, steerBefore), before); err != nil {
		return err
	}
	return r.repin(filepath.Join("groups", name, "steer"), objects.Steer)
}

// steerBefore is the pin of the program that a refresh replaced.
const steerBefore = "steer_before"

// app replaces the programs of the hooks in place.
func (r *refreshing) app(name string) error {
	a, err := r.host.openApp(name)
	if err != nil {
		return err
	}
	defer a.Close()
	hooks, err := a.hooks()
	if err != nil {
		return err
	}
	defer closeLinks(hooks)
	var objects struct {
		Bind4    *ebpf.Program `ebpf:"bind4"`
		Bind6    *ebpf.Program `ebpf:"bind6"`
		Connect4 *ebpf.Program `ebpf:"connect4"`
		Connect6 *ebpf.Program `ebpf:"connect6"`
	}
	if err := r.load(&objects, map[string]*ebpf.Map{"origins": r.maps.Origins, "app": a.config, "events": a.events}); err != nil {
		return err
	}
	defer closeAll(objects.Bind4, objects.Bind6, objects.Connect4, objects.Connect6)
	for i, program := range []*ebpf.Program{objects.Bind4, objects.Bind6, objects.Connect4, objects.Connect6} { // as in hookNames
		if same, err := linkRuns(hooks[i], program); same || err != nil {
			if err != nil {
				return err
			}
			continue
		}
		err := hooks[i].Update(program)
		if errors.Is(err, unix.ENOLINK) { // its cgroup is gone
			continue
		}
		if err != nil {
			return fmt.Errorf("replace %s: %w", hookNames[i], err)
		}
		r.replaced++
	}
	return nil
}

// repin is replacePin, counted.
func (r *refreshing) repin(path string, what pinner) error {
	err := r.replacePin(path, what)
	if err == nil {
		r.replaced++
	}
	return err
}

// replacePin puts a pin in the place of another one, with one rename.
func (r *refreshing) replacePin(path string, what pinner) error {
	tmp := filepath.Join(r.host.dir, "tmp", "new")
	if err := what.Pin(tmp); err != nil {
		return fmt.Errorf("pin %s: %w", path, explainPin(err))
	}
	if err := os.Rename(tmp, filepath.Join(r.host.dir, path)); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return nil
}

func (r *refreshing) linkRuns(path string, program *ebpf.Program) (bool, error) {
	pinned, err := loadLink(filepath.Join(r.host.dir, path))
	if err != nil {
		return false, err
	}
	defer pinned.Close()
	return linkRuns(pinned, program)
}

// linkRuns tells whether a link runs the same code already.
func linkRuns(l link.Link, program *ebpf.Program) (bool, error) {
	info, err := l.Info()
	if err != nil {
		return false, err
	}
	running, err := ebpf.NewProgramFromID(info.Program)
	if errors.Is(err, unix.EPERM) { // it takes CAP_SYS_ADMIN to know: replace it in any case
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer running.Close()
	return sameCode(running, program)
}

// sameCode compares the kernel's hashes of the instructions.
func sameCode(a, b *ebpf.Program) (bool, error) {
	one, err := a.Info()
	if err != nil {
		return false, err
	}
	other, err := b.Info()
	if err != nil {
		return false, err
	}
	return one.Tag == other.Tag, nil
}
