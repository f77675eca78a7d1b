package config

import (
	"fmt"
	"os/user"
	"strconv"
)

// accounts finds users and groups of the machine, each once.
type accounts struct {
	users, groups map[string]account
}

type account struct {
	id  uint32
	err error
}

func newAccounts() *accounts {
	return &accounts{users: make(map[string]account), groups: make(map[string]account)}
}

// user returns the number of a name or number.
func (a *accounts) user(name string) (uint32, error) {
	return look(a.users, name, func() (string, error) {
		found, err := user.Lookup(name)
		if err != nil {
			return "", fmt.Errorf("there is no user %q on this machine: take one of /etc/passwd, or a number", name)
		}
		return found.Uid, nil
	})
}

func (a *accounts) group(name string) (uint32, error) {
	return look(a.groups, name, func() (string, error) {
		found, err := user.LookupGroup(name)
		if err != nil {
			return "", fmt.Errorf("there is no group %q on this machine: take one of /etc/group, or a number", name)
		}
		return found.Gid, nil
	})
}

func look(known map[string]account, name string, find func() (string, error)) (uint32, error) {
	if id, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(id), nil
	}
	if a, ok := known[name]; ok {
		return a.id, a.err
	}
	var a account
	text, err := find()
	if err == nil {
		var id uint64
		id, err = strconv.ParseUint(text, 10, 32)
		a.id = uint32(id)
	}
	a.err = err
	known[name] = a
	return a.id, a.err
}

// ids reads a list of users or groups.
func (r *reader) ids(p place, example string, find func(string) (uint32, error)) (ids []uint32) {
	elements, _ := r.list(p, example)
	for _, e := range elements {
		name, ok := r.word(e)
		if !ok {
			continue
		}
		id, err := find(name)
		if err != nil {
			r.wrong(e, "%v", err)
			continue
		}
		ids = append(ids, id)
	}
	return ids
}
