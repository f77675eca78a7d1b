package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// groupsOf opens the groups that a NAME on the command line means: the group of
// that name, all groups of the app of that name, or those of an address.
func groupsOf(host *loader.Host, name string) ([]*loader.Group, error) {
	g, err := host.Group(name)
	if err == nil {
		return []*loader.Group{g}, nil
	}
	all, listErr := allGroups(host)
	if listErr != nil {
		return nil, listErr
	}
	address, addressErr := sockets.ParseAddress(name)
	var found []*loader.Group
	for _, g := range all {
		spec := g.Spec()
		if spec.App == name && name != "" || addressErr == nil && address.Matches(sockets.Listener{Address: spec.Address, V6Only: spec.V6Only}) {
			found = append(found, g)
		} else {
			g.Close()
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	return nil, fmt.Errorf("%q: no group or app of this name or address; sockdist status lists them: %w", name, fs.ErrNotExist)
}

func allGroups(host *loader.Host) (groups []*loader.Group, err error) {
	names, err := host.Groups()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		g, err := host.Group(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it went meanwhile
		}
		if err != nil {
			closeGroups(groups)
			return nil, err
		}
		groups = append(groups, g)
	}
	return groups, nil
}

func closeGroups(groups []*loader.Group) {
	for _, g := range groups {
		g.Close()
	}
}

// parseSlot splits NAME/SLOT.
func parseSlot(arg string) (name string, slot int, err error) {
	name, number, ok := cutLast(arg, "/")
	slot, convErr := strconv.Atoi(number)
	if !ok || name == "" || convErr != nil || slot < 0 || slot >= loader.MaxSlots {
		return "", 0, usagef("%q: expected NAME/SLOT with a slot from 0 to %d, such as web/2", arg, loader.MaxSlots-1)
	}
	return name, slot, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// withGroups does something with the groups that name means, while they are open.
func (e *environment) withGroups(name string, do func([]*loader.Group) error) error {
	host, err := e.host()
	if err != nil {
		return err
	}
	defer host.Close()
	groups, err := groupsOf(host, name)
	if err != nil {
		return err
	}
	defer closeGroups(groups)
	return do(groups)
}

// eachGroup does something to every group that name means.
func (e *environment) eachGroup(name string, do func(*loader.Group) error) error {
	return e.withGroups(name, func(groups []*loader.Group) error {
		var all error
		for _, g := range groups {
			all = errors.Join(all, do(g))
		}
		return all
	})
}

// eachSlot does something to the slot of every group that NAME/SLOT means.
func (e *environment) eachSlot(arg string, do func(*loader.Group, int) error) error {
	name, slot, err := parseSlot(arg)
	if err != nil {
		return err
	}
	return e.eachGroup(name, func(g *loader.Group) error { return do(g, slot) })
}
