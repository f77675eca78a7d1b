package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Options of Open.
type Options struct {
	// Dir is the pin folder, on bpffs. Hosts with different folders know
	// nothing of each other. "" means sockdist in the machine's bpffs; with
	// the first group or app it is mounted at /sys/fs/bpf if it is nowhere.
	Dir string
}

// A Host is a pin folder. It is safe for concurrent use, by several processes
// too. It holds nothing open.
type Host struct {
	dir string // with the layout version
}

// hostMaps are the maps that all groups and apps of a host share.
type hostMaps struct {
	Origins *ebpf.Map `ebpf:"origins"`
	Moved   *ebpf.Map `ebpf:"moved"`
	Probes  *ebpf.Map `ebpf:"probes"`
	Groups  *ebpf.Map `ebpf:"groups"`
	Apps    *ebpf.Map `ebpf:"apps"`
}

type hostObjects struct {
	hostMaps
	Account      *ebpf.Program `ebpf:"account"`
	AccountAgain *ebpf.Program `ebpf:"account_again"` // see bpf/account.h
}

// Open finds the pin folder. It makes nothing: the folder (mode 0700) and the
// accounting come with the first group or app.
func Open(options Options) (*Host, error) {
	dir, err := pinFolder(options.Dir)
	if err != nil {
		return nil, fmt.Errorf("open pin folder: %w", err)
	}
	dir = filepath.Join(dir, layout)
	if _, err := os.ReadDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open pin folder: %w", explainPin(err))
	}
	return &Host{dir: dir}, nil
}

// Close gives the handle up. Groups and apps opened through it stay usable.
func (h *Host) Close() error { return nil }

// Dir is the folder of the pins, with the layout version.
func (h *Host) Dir() string { return h.dir }

// Groups lists the names of all groups, sorted.
func (h *Host) Groups() ([]string, error) { return h.list("groups") }

// Apps lists the names of all apps, sorted.
func (h *Host) Apps() ([]string, error) { return h.list("apps") }

func (h *Host) list(kind string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(h.dir, kind))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // another process has just removed the empty folder
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", kind, err)
	}
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name()
	}
	return names, nil
}

// Remove takes the empty pin folder away, so that nothing of sockdist is left
// in the kernel. While there are groups or apps it does nothing.
func (h *Host) Remove() (err error) {
	defer wrap(&err, "remove pin folder")
	unlock, err := h.exclusive()
	if err != nil {
		return err
	}
	defer unlock()
	return h.removeIfEmpty()
}

func (h *Host) removeIfEmpty() error {
	for _, list := range []func() ([]string, error){h.Groups, h.Apps} {
		if names, err := list(); err != nil || len(names) > 0 {
			return err
		}
	}
	if err := h.discard("host"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, sub := range []string{"groups", "apps", "tmp", ".", ".."} {
		err := unix.Rmdir(filepath.Join(h.dir, sub))
		if sub == "." && errors.Is(err, unix.ENOTEMPTY) {
			return nil // somebody has just made a folder in it, to claim it
		}
		if sub == ".." && (errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EBUSY)) {
			err = nil // somebody else's folder, or the mount itself
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return &os.PathError{Op: "rmdir", Path: filepath.Join(h.dir, sub), Err: err}
		}
	}
	return nil
}

// exclusive makes this call the only one that changes the folder, among all
// processes, and clears away what a killed one left. The lock is the folder's
// own, so the kernel drops it with the process.
func (h *Host) exclusive() (unlock func(), err error) {
	for {
		lock, err := h.lockFolder()
		if err != nil {
			return nil, err
		}
		if lock == nil {
			continue
		}
		err = h.makeFolders()
		if err == nil {
			err = h.clearTemporary()
		}
		if err != nil {
			lock.Close()
			return nil, err
		}
		return func() { lock.Close() }, nil
	}
}

// lockFolder gives nil if the folder was removed, and perhaps made anew, while it waited.
func (h *Host) lockFolder() (*os.File, error) {
	if err := mountBPFFS(h.dir); err != nil {
		return nil, err
	}
	if err := isBPFFS(h.dir); err != nil { // it was, when the host was opened
		return nil, err
	}
	if err := makeFolder(h.dir); err != nil {
		return nil, explainPin(err)
	}
	lock, err := os.Open(h.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, explainPin(err)
	}
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		lock.Close()
		return nil, &os.PathError{Op: "lock", Path: h.dir, Err: err}
	}
	mine, err1 := lock.Stat()
	now, err2 := os.Stat(h.dir)
	if err1 != nil || err2 != nil || !os.SameFile(mine, now) {
		lock.Close()
		return nil, nil
	}
	return lock, nil
}

// makeFolder makes a folder, and those above it, that others may remove at any moment.
func makeFolder(dir string) (err error) {
	for range 1000 {
		err = os.MkdirAll(dir, 0o700)
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return err
}

// makeFolders needs the lock: who has it may be about to remove them.
func (h *Host) makeFolders() error {
	for _, sub := range []string{"groups", "apps", "tmp"} {
		if err := os.Mkdir(filepath.Join(h.dir, sub), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return explainPin(err)
		}
	}
	return nil
}

func (h *Host) clearTemporary() error {
	left, err := os.ReadDir(filepath.Join(h.dir, "tmp"))
	if err != nil {
		return fmt.Errorf("look for leftovers: %w", err)
	}
	for _, entry := range left {
		if err := os.RemoveAll(filepath.Join(h.dir, "tmp", entry.Name())); err != nil {
			return fmt.Errorf("clear leftovers: %w", err)
		}
	}
	return nil
}

// build makes a folder in tmp/, lets fill pin into it, and commits it as
// path with one rename. On failure nothing is left.
func (h *Host) build(path string, fill func(tmp string) error) error {
	tmp := filepath.Join(h.dir, "tmp", "new")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return explainPin(err)
	}
	if err := fill(tmp); err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	if err := os.Rename(tmp, filepath.Join(h.dir, path)); err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	return nil
}

// discard takes path out of sight with one rename, then removes what it pinned.
func (h *Host) discard(path string) error {
	tmp := filepath.Join(h.dir, "tmp", "old")
	if err := os.Rename(filepath.Join(h.dir, path), tmp); err != nil {
		return explainPin(err)
	}
	return os.RemoveAll(tmp)
}

// maps opens the host's maps, and loads the accounting if nobody did yet. The
// lock must be held.
func (h *Host) maps() (*hostMaps, error) {
	maps, err := h.pinnedMaps()
	if !errors.Is(err, fs.ErrNotExist) {
		return maps, err
	}
	if err := h.build("host", h.pinHost); err != nil {
		return nil, fmt.Errorf("set up accounting: %w", err)
	}
	return h.pinnedMaps()
}

func (h *Host) pinHost(tmp string) error {
	var objects hostObjects
	if err := load(&objects, nil); err != nil {
		return err
	}
	defer closeAll(objects.Origins, objects.Moved, objects.Probes, objects.Groups, objects.Apps, objects.Account, objects.AccountAgain)

	generation, err := ebpf.NewMap(&ebpf.MapSpec{Name: "generation", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		return err
	}
	defer generation.Close()
	pins := map[string]pinner{
		"origins": objects.Origins, "moved": objects.Moved, "probes": objects.Probes, "groups": objects.Groups, "apps": objects.Apps,
		"generation": generation,
	}
	for name, program := range map[string]*ebpf.Program{"account": objects.Account, "account_again": objects.AccountAgain} {
		account, err := link.AttachTracing(link.TracingOptions{Program: program})
		if err != nil {
			return &UnsupportedError{Feature: "the tracepoint inet_sock_set_state", MinKernel: "6.1", Err: err}
		}
		defer account.Close()
		pins[name] = account
	}
	return pinAll(tmp, pins)
}

func (h *Host) pinnedMaps() (maps *hostMaps, err error) {
	maps = new(hostMaps)
	for name, m := range map[string]**ebpf.Map{
		"origins": &maps.Origins, "moved": &maps.Moved, "probes": &maps.Probes, "groups": &maps.Groups, "apps": &maps.Apps,
	} {
		if *m, err = loadMap(filepath.Join(h.dir, "host", name)); err != nil {
			maps.close()
			return nil, err
		}
	}
	return maps, nil
}

func (m *hostMaps) close() { closeAll(m.Origins, m.Moved, m.Probes, m.Groups, m.Apps) }

// nextGeneration is a number that no slot of this host had before. The lock must be held.
func (h *Host) nextGeneration() (uint32, error) {
	m, err := loadMap(filepath.Join(h.dir, "host", "generation"))
	if err != nil {
		return 0, err
	}
	defer m.Close()
	var generation uint32
	if err := m.Lookup(uint32(0), &generation); err != nil {
		return 0, err
	}
	if generation++; generation == 0 {
		generation = 1
	}
	return generation, m.Put(uint32(0), generation)
}
