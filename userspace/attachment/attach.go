package attachment

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// Attach steers what listens at an address, and brings groups that are there
// already up to date: new sockets get slots, slots whose socket is gone are
// freed, the program is attached again where it is missing. It returns what
// became of each group; for one address there are several where sockets of
// both families listen. Nothing of a new group is left when it fails.
//
// Errors wrap ErrNobody, ErrUsers, ErrName, ErrApp, ErrLibrary, ErrAmbiguous and
// what the package says of all errors.
func Attach(ctx context.Context, host *loader.Host, o Options) (groups []Group, err error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	ns, err := o.namespace()
	if err == nil {
		a := attempt{ctx: ctx, host: host, options: o, ns: ns}
		err = ns.do(func() error {
			groups, err = a.run()
			return err
		})
	}
	return groups, explain(err, "attach %s", o.Address)
}

// An attempt is one run of Attach, or one of many of Watch.
type attempt struct {
	ctx     context.Context
	host    *loader.Host
	options Options
	ns      namespace

	// watch is who goes on looking after the groups; nil for Attach.
	watch *watcher

	known    []known
	earlier  []earlier // groups of other versions
	apps     []string
	steerers map[uint64]uint32 // program of a socket, by cookie
	begun    []*loader.Group   // what is new
	left     []*earlier        // whose sockets go to what is new
}

// known is what there is to know of a group of the host.
type known struct {
	name string
	spec loader.GroupSpec
	// programs are those that choose among its sockets: its present one, and from
	// an upgrade to the next attach the one before.
	programs []uint32
	// hidden is why it can't be told whose other programs are.
	hidden error
	// library tells that its workers publish their loads: a daemon looks after it.
	library bool
}

// run works in the namespace, and keeps others from attaching and detaching.
func (a *attempt) run() (groups []Group, err error) {
	if any, err := sockets.Listeners(a.options.Address); err != nil {
		return nil, err
	} else if len(any) == 0 {
		return nil, a.refuseNothing() // before anything is made, such as a mount
	}
	release, err := a.host.Claim(a.ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	defer func() {
		if err != nil {
			err = errors.Join(err, a.undo())
		}
		closeGroups(a.begun)
	}()

	found, err := a.options.scan()
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, a.refuseNothing()
	}
	if err := a.refresh(); err != nil {
		return nil, err
	}
	if err := a.look(); err != nil {
		return nil, err
	}
	names, err := a.prepare(found)
	if err != nil {
		return nil, err
	}
	for i, k := range found {
		if names[i] == "" {
			continue
		}
		g, err := a.attach(k, names[i])
		if err != nil {
			return nil, err
		}
		groups = append(groups, g)
	}
	if len(groups) == 0 { // all were detached a moment ago, and the claim has made a folder
		return nil, a.host.Remove()
	}
	return groups, nil
}

// refresh has the programs be those of this sockdist, after an upgrade.
func (a *attempt) refresh() error {
	if a.watch != nil || a.options.Refreshed {
		return nil
	}
	_, err := a.host.Refresh()
	return err
}

// look reads what groups there are, and what steers.
func (a *attempt) look() (err error) {
	if a.apps, err = a.host.Apps(); err != nil {
		return err
	}
	if a.steerers, err = loader.Steerers(); err != nil {
		return err
	}
	if a.earlier, err = earlierGroups(a.host); err != nil {
		return err
	}
	a.known, err = knownGroups(a.host, a.steerers)
	return err
}

// knownGroups reads the groups, with those of the steerers that are theirs.
func knownGroups(host *loader.Host, steerers map[uint64]uint32) (all []known, err error) {
	names, err := host.Groups()
	if err != nil {
		return nil, err
	}
	var groups []*loader.Group
	defer func() { closeGroups(groups) }()
	steering := slices.Compact(slices.Sorted(maps.Values(steerers)))
	for _, name := range names {
		g, id, err := openWithProgram(host, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it went meanwhile
		}
		if err != nil {
			return nil, err
		}
		groups = append(groups, g)
		k := known{name: name, spec: g.Spec()}
		k.library = slices.ContainsFunc(g.Progress(nil), func(p loader.Progress) bool { return p.Reports })
		// That of one group is no other's: of many groups, few programs have to be
		// looked into.
		if i := slices.Index(steering, id); i >= 0 {
			k.programs, steering = []uint32{id}, slices.Delete(steering, i, i+1)
		}
		all = append(all, k)
	}
	for i, g := range groups {
		others, hidden, err := programsOf(g, steering)
		if err != nil {
			return nil, err
		}
		all[i].programs, all[i].hidden = append(all[i].programs, others...), hidden
	}
	return all, nil
}

func openWithProgram(host *loader.Host, name string) (g *loader.Group, program uint32, err error) {
	if g, err = host.Group(name); err != nil {
		return nil, 0, err
	}
	if program, err = g.ProgramID(); err != nil {
		g.Close()
		return nil, 0, err
	}
	return g, program, nil
}

// programsOf are those of the steering programs that are the group's.
func programsOf(g *loader.Group, steering []uint32) (own []uint32, hidden, err error) {
	for _, id := range steering {
		chooses, err := g.Chooses(id)
		switch {
		case errors.Is(err, loader.ErrNotSupported):
			hidden = err
		case err != nil:
			return nil, nil, err
		case chooses:
			own = append(own, id)
		}
	}
	return own, hidden, nil
}

func (a *attempt) called(name string) *known {
	i := slices.IndexFunc(a.known, func(g known) bool { return g.name == name })
	if i < 0 {
		return nil
	}
	return &a.known[i]
}

func (a *attempt) of(key sockets.Group) *known {
	i := slices.IndexFunc(a.known, func(g known) bool {
		return g.spec.NetNS == a.ns.inode && g.spec.Address == key.Address && g.spec.V6Only == key.V6Only
	})
	if i < 0 {
		return nil
	}
	return &a.known[i]
}

// prepare makes sure that everything can be done, before anything is, and says
// under which names; "" for a group that is to be left alone.
func (a *attempt) prepare(found []kernelGroup) ([]string, error) {
	if err := refuseTwins(found); err != nil {
		return nil, err
	}
	names := make([]string, len(found))
	for i, k := range found {
		have := a.of(k.key)
		if a.watch.leaves(k.key, have) {
			continue
		}
		if have != nil {
			if err := refuseApp(*have); err != nil {
				return nil, err
			}
			if err := a.checkNamed(*have, k.key); err != nil {
				return nil, err
			}
		}
		if err := a.options.refuse(k, len(found) == 1); err != nil {
			return nil, err
		}
		was, err := a.earlierOf(k)
		if err != nil {
			return nil, err
		}
		if err := was.refuseApp(); err != nil {
			return nil, err
		}
		if err := a.refuseSteered(k, have, was); err != nil {
			return nil, err
		}
		if have != nil {
			names[i] = have.name
			continue
		}
		name, err := a.nameOf(k, found, was)
		if err != nil {
			return nil, err
		}
		names[i] = name
		// The next one must not take it, too.
		a.known = append(a.known, known{name: name, spec: a.spec(k, name)})
	}
	return names, nil
}

func (a *attempt) spec(k kernelGroup, name string) loader.GroupSpec {
	spec := loader.GroupSpec{Name: name, Address: k.key.Address, V6Only: k.key.V6Only, NetNS: a.ns.inode}
	if a.options.Policy != nil {
		spec.Policy = *a.options.Policy
	}
	return spec
}

// attach makes one group, or brings it up to date.
func (a *attempt) attach(k kernelGroup, name string) (Group, error) {
	g, err := a.host.Group(name)
	isNew := errors.Is(err, fs.ErrNotExist)
	if isNew {
		if err := a.ctx.Err(); err != nil {
			return Group{}, err
		}
		if g, err = a.host.CreateGroup(a.spec(k, name)); err == nil {
			a.begun = append(a.begun, g)
		}
	}
	if err != nil {
		return Group{}, err
	}
	if !isNew {
		defer g.Close()
	}
	r := renewal{attempt: a, group: g, found: k, isNew: isNew}
	if r.was, err = a.earlierOf(k); err != nil {
		return Group{}, err
	}
	if r.was != nil && isNew {
		a.left = append(a.left, r.was)
	}
	return r.run()
}

// undo takes back what is new. The context may have ended long ago. Of a group
// of another version half of the sockets may have moved; it can't do without.
func (a *attempt) undo() (err error) {
	for _, e := range a.left {
		err = errors.Join(err, e.giveBack())
	}
	for _, g := range a.begun {
		err = errors.Join(err, dissolve(g))
	}
	return errors.Join(err, a.host.Remove())
}

func closeGroups(groups []*loader.Group) {
	for _, g := range groups {
		g.Close()
	}
}
