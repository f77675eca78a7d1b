package attachment

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/sockdist/sockdist/userspace/sockets"
)

// maxNamespaces bounds how many network namespaces are looked into for an error's sake.
const maxNamespaces = 256

// refuseNothing tells that nothing listens, and what does on that port.
func (a *attempt) refuseNothing() error {
	if here := a.onOtherAddress(); here != "" {
		return fmt.Errorf("%w; %s", ErrNobody, here)
	}
	if there := a.inOtherNamespace(); there != "" {
		return fmt.Errorf("%w; %s", ErrNobody, there)
	}
	return fmt.Errorf("%w; start the server first, or sockdist run it", ErrNobody)
}

func (a *attempt) onOtherAddress() string {
	all, err := sockets.Listeners(sockets.Address{})
	if err != nil {
		return ""
	}
	for _, l := range all {
		if l.Address.Port() == a.options.Address.Port {
			return fmt.Sprintf("%s has a listener%s: sockdist attach %s", l.Address, serverOf(l), exactly(l.Address))
		}
	}
	return ""
}

func serverOf(l sockets.Listener) string {
	holders, err := sockets.Holders([]uint32{l.Inode})
	if err != nil || len(holders) == 0 {
		return ""
	}
	server := sockets.Server(holders[l.Inode])
	return fmt.Sprintf(" (%s, process %d)", programOf(server), server.PID)
}

func (a *attempt) inOtherNamespace() string {
	for _, name := range otherNamespaces(a.ns.inode) {
		var found []sockets.Listener
		err := sockets.In(name, func() (err error) {
			found, err = sockets.Listeners(a.options.Address)
			return err
		})
		if err == nil && len(found) > 0 {
			return fmt.Sprintf("in another network namespace there is %s%s: add --netns %s", found[0].Address, serverOf(found[0]), shortNamespace(name))
		}
	}
	return ""
}

// otherNamespaces are paths of namespaces, each once: those with a name first.
func otherNamespaces(own uint64) (paths []string) {
	seen := map[uint64]bool{own: true}
	for _, pattern := range []string{"/run/netns/*", "/proc/[0-9]*/ns/net"} {
		candidates, err := filepath.Glob(pattern)
		if err != nil {
			continue
		}
		for _, path := range candidates {
			info, err := os.Stat(path)
			if err != nil || len(paths) == maxNamespaces {
				continue
			}
			if stat := info.Sys().(*syscall.Stat_t); !seen[stat.Ino] {
				seen[stat.Ino] = true
				paths = append(paths, path)
			}
		}
	}
	return paths
}

// shortNamespace writes a path as a user would: the name, or the PID.
func shortNamespace(path string) string {
	if name, ok := strings.CutPrefix(path, "/run/netns/"); ok {
		return name
	}
	return strings.TrimSuffix(strings.TrimPrefix(path, "/proc/"), "/ns/net")
}
