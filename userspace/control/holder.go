package control

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// holderIn finds a process of the leaf that has the socket. It looks at the
// few processes there are in a leaf, where [sockets.Holders] has to go through
// all of the machine. The error wraps [fs.ErrNotExist] when there is none.
func holderIn(leaf *cgroup.Leaf, inode uint32) (sockets.Holder, error) {
	pids, err := leaf.Procs()
	if err != nil {
		return sockets.Holder{}, err
	}
	link := fmt.Sprintf("socket:[%d]", inode)
	for _, pid := range pids {
		fd, err := descriptorOf(pid, link)
		if errors.Is(err, fs.ErrPermission) {
			return sockets.Holder{}, fmt.Errorf("look into process %d of a worker: run as root, or with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH: %w", pid, err)
		}
		if err == nil {
			return sockets.Holder{PID: pid, FD: fd}, nil
		}
	}
	return sockets.Holder{}, fmt.Errorf("no process of the worker has the socket: %w", fs.ErrNotExist)
}

func descriptorOf(pid int, link string) (int, error) {
	folder := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return -1, err
	}
	for _, entry := range entries {
		if target, err := os.Readlink(filepath.Join(folder, entry.Name())); err == nil && target == link {
			return strconv.Atoi(entry.Name())
		}
	}
	return -1, fs.ErrNotExist
}

// owners names the processes that have the listener.
func owners(l sockets.Listener) string {
	// The processes that may not be looked into are just not named.
	holders, _ := sockets.Holders([]uint32{l.Inode})
	var names []string
	for _, holder := range holders[l.Inode] {
		names = append(names, fmt.Sprintf("%s (pid %d)", holder.Comm, holder.PID))
	}
	if len(names) == 0 {
		return fmt.Sprintf("a process of user %d", l.UID)
	}
	return strings.Join(names, ", ")
}
