package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// A Branch is the tree of an app as it is seen from outside, by somebody who
// doesn't have its lock. One that isn't there yet, or no more, has no processes
// and has used nothing.
type Branch struct{ directory }

// Branch is the tree of an app, whether it is there or not.
func (m *Mount) Branch(app string) Branch {
	return Branch{directory{path: filepath.Join(m.Dir, folder, app)}}
}

// Apps are the names of all trees there are, in order.
func (m *Mount) Apps() (names []string, err error) {
	entries, err := os.ReadDir(filepath.Join(m.Dir, folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, entry := range entries {
		if entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	return names, err
}

// Exists tells whether the tree is there.
func (b Branch) Exists() bool {
	_, err := os.Stat(b.path)
	return err == nil
}

// CPUTime is what its processes have used so far, those that ended too.
func (b Branch) CPUTime() (time.Duration, error) {
	used, err := b.directory.CPUTime()
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return used, err
}
