package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"

	"golang.org/x/sys/unix"
)

// folder holds the trees of all apps, below the mount point.
const folder = "sockdist"

// A Tree is the cgroup of one app. Its leaves are its workers.
type Tree struct {
	directory

	lock *os.File

	counting  sync.Once
	killCount int // of our own cgroup
	countErr  error
}

var nameRule = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_:-]{0,62}$`)

// CheckName tells whether an app may have this name: 1 to 63 letters, digits,
// '_', ':' and '-', the last two not at the start. The names of a cgroup's own
// files have a dot.
func CheckName(app string) error {
	if !nameRule.MatchString(app) {
		return fmt.Errorf("%q can't be the name of an app: take 1 to 63 letters, digits, '-', '_' and ':', "+
			"starting with a letter, a digit or '_'", app)
	}
	return nil
}

// Create opens the tree of an app, made now if need be, and locks it. A tree
// that an earlier process left comes back with its leaves and the processes in
// them. Errors wrap [ErrInUse] when another process has the lock, and
// [ErrUnavailable] when this user or container may not make cgroups here.
func (m *Mount) Create(app string) (*Tree, error) {
	if err := CheckName(app); err != nil {
		return nil, err
	}
	path := filepath.Join(m.Dir, folder, app)

	// Another process may be removing the same folders: after a few rounds
	// one of the two is through.
	for range 100 {
		if err := os.MkdirAll(path, 0o755); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, refused(path, err)
		}
		lock, err := lockDirectory(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, unix.EWOULDBLOCK):
			return nil, fmt.Errorf("app %s is supervised by another process: take another name, or end that one first: %w", app, ErrInUse)
		case err != nil:
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		return &Tree{directory: directory{path: path}, lock: lock}, nil
	}
	return nil, fmt.Errorf("lock %s: it is being removed again and again by another process", path)
}

// Has tells whether there is a tree of the app.
func (m *Mount) Has(app string) bool { return m.Branch(app).Exists() }

// lockDirectory returns [fs.ErrNotExist] when the directory was removed
// between opening and locking.
func lockDirectory(path string) (*os.File, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		dir.Close()
		return nil, err
	}
	locked, err := dir.Stat()
	if err == nil {
		var present os.FileInfo
		if present, err = os.Stat(path); err == nil && !os.SameFile(locked, present) {
			err = fs.ErrNotExist
		}
	}
	if err != nil {
		dir.Close()
		return nil, err
	}
	return dir, nil
}

// refused explains why a cgroup couldn't be made.
func refused(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS):
		return fmt.Errorf("make cgroup %s: no permission: run as root, and in a container with a writable "+
			"/sys/fs/cgroup (--privileged): %w", path, unavailable(err))
	case errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("make cgroup %s: cgroup.max.descendants or cgroup.max.depth above it is reached: %w",
			path, unavailable(err))
	}
	return fmt.Errorf("make cgroup %s: %w", path, unavailable(err))
}

// Leaf opens the leaf of a worker. One in which something lives comes as it
// is; an empty one is made anew, with another ID: see killcount.go.
func (t *Tree) Leaf(worker string) (*Leaf, error) {
	if err := CheckName(worker); err != nil {
		return nil, err
	}
	leaf := &Leaf{directory: directory{path: filepath.Join(t.path, worker)}}
	lives, err := leaf.Populated()
	if err != nil {
		return nil, err
	}
	if !lives {
		if err := t.renew(leaf); err != nil {
			return nil, err
		}
	}
	leaf.id, err = inode(leaf.path)
	return leaf, err
}

func (t *Tree) renew(leaf *Leaf) error {
	if err := leaf.Remove(); err != nil {
		return err
	}
	if err := os.Mkdir(leaf.path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return refused(leaf.path, err)
	}
	return t.matchKillCount(leaf)
}

// Remove removes the tree with all its leaves, and the folder of all apps
// when this was the last one. It fails while a process lives in the tree;
// what is already gone is no error. The tree stays locked.
func (t *Tree) Remove() error {
	if err := t.directory.Remove(); err != nil {
		return err
	}
	// Others may have trees in there, so a refusal is no error.
	_ = unix.Rmdir(filepath.Dir(t.path))
	return nil
}

// Close gives up the lock. It removes nothing.
func (t *Tree) Close() error {
	// A process that is just being forked has the descriptor too, until it execs.
	_ = unix.Flock(int(t.lock.Fd()), unix.LOCK_UN)
	if err := t.lock.Close(); err != nil {
		return fmt.Errorf("unlock %s: %w", t.path, err)
	}
	return nil
}

// A Leaf is the cgroup of one worker.
type Leaf struct {
	directory

	id uint64
}

// ID returns the number under which the kernel knows the leaf, as
// bpf_get_current_cgroup_id reports it: its inode.
func (l *Leaf) ID() uint64 { return l.id }

// Open returns a descriptor of the leaf, for CLONE_INTO_CGROUP.
func (l *Leaf) Open() (*os.File, error) {
	fd, err := unix.Open(l.path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open cgroup %s: %w", l.path, err)
	}
	return os.NewFile(uintptr(fd), l.path), nil
}

func inode(path string) (uint64, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return 0, fmt.Errorf("stat cgroup %s: %w", path, err)
	}
	return stat.Ino, nil
}
