package control

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

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
