package sockets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/netns/thread"
)

// In runs f in another network namespace and returns what f returned. The
// namespace is a path such as /proc/812/ns/net or /run/netns/blue, a PID, or a
// name that ip-netns(8) gave; "" is the caller's own. It wraps fs.ErrNotExist
// when there is none such. Goroutines that f starts are not in the namespace.
func In(namespace string, f func() error) error {
	if namespace == "" {
		return f()
	}
	file, err := os.Open(namespacePath(namespace))
	if err != nil {
		return fmt.Errorf("open the network namespace %s: %w", namespace, err)
	}
	defer file.Close()
	return thread.In(file, f)
}

func namespacePath(namespace string) string {
	if strings.Contains(namespace, "/") {
		return namespace
	}
	if pid, err := strconv.Atoi(namespace); err == nil {
		return processNamespace(pid)
	}
	return filepath.Join(namedNamespaces, namespace)
}

// namedNamespaces is where ip-netns(8) keeps namespaces that have a name.
const namedNamespaces = "/run/netns"

// NetNSOf returns the number of a process's network namespace, and the path
// that opens it for as long as the process lives. PID 0 stands for the calling
// thread. It wraps os.ErrProcessDone or fs.ErrPermission.
func NetNSOf(pid int) (inode uint64, path string, err error) {
	path = processNamespace(pid)
	inode, err = inodeOf(path)
	switch {
	case err == nil:
		return inode, path, nil
	case vanished(err):
		err = os.ErrProcessDone
	case errors.Is(err, fs.ErrPermission):
		err = fmt.Errorf("%w: run as root or with CAP_SYS_PTRACE", err)
	}
	return 0, "", fmt.Errorf("read the network namespace of process %d: %w", pid, err)
}

func processNamespace(pid int) string {
	if pid == 0 {
		return "/proc/thread-self/ns/net"
	}
	return fmt.Sprintf("/proc/%d/ns/net", pid)
}

// FindNetNS returns a path that opens the network namespace of this number: the
// calling thread's, one with a name, or that of some process, which ends with
// the process. It wraps fs.ErrNotExist when there is none to be seen.
func FindNetNS(inode uint64) (path string, err error) {
	candidates := []string{processNamespace(0)}
	for _, pattern := range []string{filepath.Join(namedNamespaces, "*"), "/proc/[0-9]*/ns/net"} {
		more, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		candidates = append(candidates, more...)
	}
	for _, path := range candidates {
		if found, err := inodeOf(path); err == nil && found == inode {
			return path, nil
		}
	}
	return "", fmt.Errorf("find the network namespace %d: %w: no process is in it", inode, fs.ErrNotExist)
}

func inodeOf(path string) (uint64, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return 0, err
	}
	return stat.Ino, nil
}

// vanished tells whether the error is what /proc says of a process that ended.
func vanished(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH)
}
