package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// EnableMemory makes the memory of each leaf countable, and open to a limit:
// it enables the memory controller from the mount point down to the app's tree.
// It is left enabled. Errors wrap [ErrUnavailable] and say what keeps this
// machine from it.
func (t *Tree) EnableMemory() error { return enableMemory(t.path) }

func enableMemory(tree string) error {
	apps := filepath.Dir(tree)
	for _, dir := range []string{filepath.Dir(apps), apps, tree} {
		if err := enableMemoryBelow(dir); err != nil {
			return fmt.Errorf("enable the memory controller below cgroup %s: %w", dir, unavailable(err))
		}
	}
	return nil
}

// enableMemoryBelow enables the controller for the children of a cgroup.
func enableMemoryBelow(dir string) error {
	path := filepath.Join(dir, "cgroup.subtree_control")
	if enabled, err := lists(path, "memory"); err != nil || enabled {
		return err
	}
	offered, err := lists(filepath.Join(dir, "cgroup.controllers"), "memory")
	switch {
	case err != nil:
		return err
	case !offered:
		return whyNoMemory()
	}
	err = writeFile(path, "+memory")
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("processes live in it, as in the root of a container: move them into a cgroup of their own: %w", err)
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("no permission: run as root: %w", err)
	}
	return err
}

// lists tells whether a file of words has this one.
func lists(path, word string) (bool, error) {
	text, err := os.ReadFile(path)
	return slices.Contains(strings.Fields(string(text)), word), err
}

// whyNoMemory says why the hierarchy of version 2 lacks the controller.
func whyNoMemory() error {
	mounts, err := mounted()
	if err != nil {
		return err
	}
	for _, line := range mounts {
		if line.kind == "cgroup" && slices.Contains(line.super, "memory") {
			return fmt.Errorf("this machine has it in cgroup v1, at %s: "+
				"boot with systemd.unified_cgroup_hierarchy=1 or cgroup_no_v1=memory", line.dir)
		}
	}
	table, err := os.ReadFile("/proc/cgroups")
	if err == nil && !memoryIsOn(string(table)) {
		return errors.New("the kernel has it off: boot with cgroup_enable=memory, or take a kernel with CONFIG_MEMCG")
	}
	return errors.New("it isn't delegated to this cgroup: enable it in cgroup.subtree_control above, " +
		"with Delegate=yes in a systemd unit")
}

// memoryIsOn reads /proc/cgroups: name, hierarchy, number of cgroups, enabled.
func memoryIsOn(table string) bool {
	for line := range strings.Lines(table) {
		if fields := strings.Fields(line); len(fields) == 4 && fields[0] == "memory" {
			return fields[3] == "1"
		}
	}
	return false
}

// SetMemoryMax limits the memory of the leaf, in bytes; 0 takes the limit away.
// It counts memory that the kernel uses for the processes, and swap doesn't
// extend it. When the leaf needs more, the kernel kills all processes in it,
// so that a worker dies whole. A leaf that is made anew has no limit: set it
// before the process starts. Errors wrap [ErrUnavailable].
func (l *Leaf) SetMemoryMax(bytes uint64) error {
	if err := enableMemory(filepath.Dir(l.path)); err != nil {
		return err
	}
	limit, swap, whole := strconv.FormatUint(bytes, 10), "0", "1"
	if bytes == 0 {
		limit, swap, whole = "max", "max", "0"
	}
	settings := []struct {
		file, value string
		optional    bool
	}{
		{"memory.oom.group", whole, false},
		{"memory.swap.max", swap, true}, // absent from kernels without swap
		{"memory.max", limit, false},
	}
	for _, s := range settings {
		err := writeFile(filepath.Join(l.path, s.file), s.value)
		if s.optional && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("limit the memory of cgroup %s: set %s to %s: %w", l.path, s.file, s.value, unavailable(err))
		}
	}
	return nil
}

// OOMKills returns how many processes of the leaf the kernel has killed because
// of its limit, or because the machine had no memory left. Ask before the leaf
// is removed or made anew. It wraps [ErrUnavailable] without the memory
// controller, and [fs.ErrNotExist] when the leaf is gone.
func (l *Leaf) OOMKills() (uint64, error) { return l.memoryNumber("memory.events", "oom_kill") }

// MemoryCurrent returns how many bytes the cgroup, and those below it, take
// now. Errors are those of OOMKills.
func (d directory) MemoryCurrent() (uint64, error) { return d.memoryNumber("memory.current", "") }

func (d directory) memoryNumber(file, key string) (uint64, error) {
	number, err := d.number(file, key)
	if errors.Is(err, fs.ErrNotExist) {
		if _, gone := os.Stat(d.path); gone == nil {
			err = fmt.Errorf("the memory controller is off here: %w", ErrUnavailable)
		}
	}
	return number, err
}

// CPUTime returns how much CPU time the processes of the cgroup, and of those
// below it, have used since it was made, in user and kernel mode. Those that
// ended count too. It needs no controller. It wraps [fs.ErrNotExist] when the
// cgroup is gone.
func (d directory) CPUTime() (time.Duration, error) {
	microseconds, err := d.number("cpu.stat", "usage_usec")
	return time.Duration(microseconds) * time.Microsecond, err
}

// number reads a number from a file of a cgroup: all of it, or that of one
// line "key number".
func (d directory) number(file, key string) (uint64, error) {
	text, err := d.read(file)
	if err != nil {
		return 0, err
	}
	number, err := parseNumber(text, key)
	if err != nil {
		return 0, fmt.Errorf("read %s of cgroup %s: %w", file, d.path, err)
	}
	return number, nil
}

func (d directory) read(file string) (string, error) {
	text, err := os.ReadFile(filepath.Join(d.path, file))
	if errors.Is(err, unix.ENODEV) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return "", fmt.Errorf("read %s of cgroup %s: %w", file, d.path, err)
	}
	return strings.TrimSpace(string(text)), nil
}

func parseNumber(text, key string) (uint64, error) {
	value, err := valueOf(text, key)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(value), 10, 64)
}

// valueOf returns what stands behind the key in the line that begins with it;
// all of the text for no key.
func valueOf(text, key string) (string, error) {
	if key == "" {
		return text, nil
	}
	for line := range strings.Lines(text) {
		if name, value, _ := strings.Cut(strings.TrimSpace(line), " "); name == key {
			return value, nil
		}
	}
	return "", fmt.Errorf("it has no %s", key)
}
