package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A Temporary is a Host of one process's own, for a demonstration or a
// measurement. Its pin folder stands beside the machine's and is locked for as
// long as the process lives.
type Temporary struct {
	*Host
	folder string
	lock   *os.File
}

// OpenTemporary makes a pin folder sockdist-KIND-PID-…, and removes those of the
// same kind whose processes ended without Remove. Errors wrap ErrNotSupported.
func OpenTemporary(kind string) (t *Temporary, err error) {
	defer wrap(&err, "make a temporary pin folder")
	if err := CheckName(kind); err != nil {
		return nil, err
	}
	own, err := mountedFolder()
	if err != nil {
		return nil, err
	}
	mount := filepath.Dir(own)
	if err := clearAbandoned(mount, "sockdist-"+kind+"-*"); err != nil {
		return nil, err
	}
	t = new(Temporary)
	for t.lock == nil {
		pattern := fmt.Sprintf("sockdist-%s-%d-*", kind, os.Getpid())
		if t.folder, err = os.MkdirTemp(mount, pattern); err != nil {
			return nil, explainPin(err)
		}
		// Somebody who clears folders may have found this one before it was locked.
		if t.lock, err = lockIfFree(t.folder); err != nil {
			return nil, explainPin(err)
		}
	}
	// A host that gets empty removes its folders, but not this one, which is locked.
	if err := os.Mkdir(filepath.Join(t.folder, "kept"), 0o700); err != nil {
		return nil, errors.Join(explainPin(err), t.Remove())
	}
	t.Host = &Host{dir: filepath.Join(t.folder, layout)}
	return t, nil
}

// Remove takes the folder away with all that is pinned in it. Groups must not
// be steered any more.
func (t *Temporary) Remove() error {
	err := os.RemoveAll(t.folder)
	t.lock.Close()
	if err != nil {
		return fmt.Errorf("remove temporary pin folder: %w", err)
	}
	return nil
}

// lockIfFree gives nil if another process has the lock, or has removed the folder.
func lockIfFree(folder string) (*os.File, error) {
	lock, err := os.Open(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		_, err = os.Stat(folder)
	}
	if err == nil {
		return lock, nil
	}
	lock.Close()
	if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return nil, &os.PathError{Op: "lock", Path: folder, Err: err}
}

// clearAbandoned removes the folders whose lock nobody holds.
func clearAbandoned(mount, pattern string) error {
	folders, err := filepath.Glob(filepath.Join(mount, pattern))
	if err != nil {
		return err
	}
	for _, folder := range folders {
		lock, err := lockIfFree(folder)
		if err != nil {
			return explainPin(err)
		}
		if lock == nil {
			continue
		}
		err = os.RemoveAll(folder)
		lock.Close()
		if err != nil {
			return fmt.Errorf("clear what an ended process left: %w", err)
		}
	}
	return nil
}
