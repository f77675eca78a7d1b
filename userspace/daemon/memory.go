package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/sockdist/sockdist/internal/folder"
	"github.com/sockdist/sockdist/userspace/config"
)

// memoryVersion is that of the file.
const memoryVersion = 1

// memory is what was applied: of each unit the settings that it works by. It is
// kept in a file, for the daemon that comes after this one was killed.
type memory struct {
	path string

	mu     sync.Mutex
	told   bool // that it can't be written
	Apps   map[string]config.App
	Groups map[string]config.Group
	Attach map[string]config.Attachment
}

type memoryFile struct {
	Version int                          `json:"version"`
	Apps    map[string]config.App        `json:"apps"`
	Groups  map[string]config.Group      `json:"groups"`
	Attach  map[string]config.Attachment `json:"attach"`
}

// recall reads the memory; there may be none. With an error it is empty.
func recall(runtime string) (*memory, error) {
	m := &memory{
		path: filepath.Join(runtime, "serve.json"),
		Apps: make(map[string]config.App), Groups: make(map[string]config.Group), Attach: make(map[string]config.Attachment),
	}
	text, err := os.ReadFile(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	var file memoryFile
	if err == nil {
		err = json.Unmarshal(text, &file)
	}
	if err == nil && file.Version != memoryVersion {
		err = fmt.Errorf("it is of version %d, and version %d is known here", file.Version, memoryVersion)
	}
	if err != nil {
		return m, fmt.Errorf("read %s: %w", m.path, err)
	}
	maps.Copy(m.Apps, file.Apps)
	maps.Copy(m.Groups, file.Groups)
	maps.Copy(m.Attach, file.Attach)
	return m, nil
}

// change alters the memory and writes it down. That this fails is told once.
func (m *memory) change(alter func()) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	alter()
	err := m.write()
	if err == nil || m.told {
		m.told = err != nil
		return nil
	}
	m.told = true
	return fmt.Errorf("write %s: %w; a daemon that starts after a crash knows less then", m.path, err)
}

func (m *memory) write() error {
	if len(m.Apps)+len(m.Groups)+len(m.Attach) == 0 {
		if err := os.Remove(m.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	text, err := json.MarshalIndent(memoryFile{memoryVersion, m.Apps, m.Groups, m.Attach}, "", " ")
	if err != nil {
		return err
	}
	return folder.WriteFile(m.path, append(text, '\n'))
}

// get returns a value, and whether there is one.
func get[T any](m *memory, from map[string]T, name string) (T, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok := from[name]
	return value, ok
}

// names lists those of a map.
func names[T any](m *memory, of map[string]T) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(of))
}
