package control

import (
	"fmt"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// account is whom a worker runs as.
type account struct {
	uid, gid uint32
	groups   []uint32
	// name and home are empty for a number that no user has.
	name, home string
}

// findAccount reads USER or USER:GROUP, each a name or a number. Without a
// group it is the user's own, and its supplementary groups come along. A
// number that no user has needs a group.
func findAccount(text string) (*account, error) {
	name, group, hasGroup := strings.Cut(text, ":")
	a, err := findUser(name)
	if err != nil {
		return nil, err
	}
	if a == nil {
		uid, err := parseID(name)
		if err != nil {
			return nil, fmt.Errorf("no user %q on this machine: take one of /etc/passwd, or UID:GID", name)
		}
		if !hasGroup {
			return nil, fmt.Errorf("no user has number %d, so its group isn't known: say --user %d:GROUP", uid, uid)
		}
		a = &account{uid: uid}
	}
	if hasGroup {
		if a.gid, err = findGroup(group); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// findUser returns nil when there is none of that name or number.
func findUser(name string) (*account, error) {
	found, err := user.Lookup(name)
	if err != nil {
		if _, notNumber := parseID(name); notNumber != nil {
			return nil, nil
		}
		if found, err = user.LookupId(name); err != nil {
			return nil, nil
		}
	}
	a := &account{name: found.Username, home: found.HomeDir}
	if a.uid, err = parseID(found.Uid); err != nil {
		return nil, err
	}
	if a.gid, err = parseID(found.Gid); err != nil {
		return nil, err
	}
	groups, err := found.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("find the groups of user %s: %w", found.Username, err)
	}
	for _, text := range groups {
		gid, err := parseID(text)
		if err != nil {
			return nil, err
		}
		a.groups = append(a.groups, gid)
	}
	return a, nil
}

func findGroup(name string) (uint32, error) {
	text := name
	if found, err := user.LookupGroup(name); err == nil {
		text = found.Gid
	}
	gid, err := parseID(text)
	if err != nil {
		return 0, fmt.Errorf("no group %q on this machine: take one of /etc/group, or a number", name)
	}
	return gid, nil
}

func parseID(text string) (uint32, error) {
	id, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("number of a user or group: %w", err)
	}
	return uint32(id), nil
}

// credential returns nil for a nil account: stay who we are.
func (a *account) credential() *syscall.Credential {
	if a == nil {
		return nil
	}
	return &syscall.Credential{Uid: a.uid, Gid: a.gid, Groups: a.groups}
}

// canPass tells whether the account may traverse the folder and those above it,
// by their modes. The nil account is our own, which may.
func (a *account) canPass(folder string) bool {
	if a == nil || a.uid == 0 {
		return true
	}
	for ; ; folder = filepath.Dir(folder) {
		var stat unix.Stat_t
		if unix.Stat(folder, &stat) != nil {
			return false
		}
		bit := uint32(0o001)
		switch {
		case stat.Uid == a.uid:
			bit = 0o100
		case stat.Gid == a.gid || slices.Contains(a.groups, stat.Gid):
			bit = 0o010
		}
		if stat.Mode&bit == 0 {
			return false
		}
		if parent := filepath.Dir(folder); parent == folder || parent == "." {
			return true
		}
	}
}
