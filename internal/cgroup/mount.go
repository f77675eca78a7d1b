package cgroup

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A Mount is the place at which a cgroup hierarchy is mounted.
type Mount struct {
	// Dir is the mount point.
	Dir string

	// Root is the cgroup that Dir shows, as seen from the cgroup namespace
	// of this process: "/" is the namespace's own root, and a path that
	// climbs ("/..") is a mount inherited from outside of the namespace.
	Root string

	readOnly bool
}

// Find returns the cgroup v2 hierarchy of this process, wherever it is
// mounted. Errors wrap [ErrUnavailable].
func Find() (*Mount, error) {
	mounts, err := mounted()
	if err != nil {
		return nil, err
	}
	return pickV2(mounts)
}

func pickV2(mounts []mountLine) (*Mount, error) {
	var best *Mount
	for _, line := range mounts {
		if line.kind != "cgroup2" {
			continue
		}
		m := &Mount{Dir: line.dir, Root: line.root, readOnly: line.readOnly}
		if best == nil || m.rank() > best.rank() {
			best = m
		}
	}

	switch {
	case best == nil:
		return nil, fmt.Errorf("no cgroup2 in the mount table: mount it with "+
			"mount -t cgroup2 none /sys/fs/cgroup/unified: %w", ErrUnavailable)
	case best.readOnly:
		return nil, fmt.Errorf("%s is mounted read-only, as in an unprivileged container: "+
			"start the container with a writable cgroup (--privileged, or --cgroupns=host and "+
			"-v /sys/fs/cgroup:/sys/fs/cgroup:rw): %w", best.Dir, ErrUnavailable)
	case strings.HasPrefix(best.Root, "/.."):
		return nil, fmt.Errorf("%s shows cgroups outside of this process's cgroup namespace: "+
			"mount cgroup2 again inside of the namespace, or start the container with --cgroupns=host: %w",
			best.Dir, ErrUnavailable)
	}
	return best, nil
}

// rank orders several mounts of the one hierarchy: a writable one wins, then
// one that shows the namespace's root.
func (m *Mount) rank() int {
	rank := 0
	if !m.readOnly {
		rank += 2
	}
	if m.Root == "/" {
		rank++
	}
	return rank
}

// resolve returns the directory in which the mount shows a cgroup, given as
// /proc/PID/cgroup names it.
func (m *Mount) resolve(cgroup string) (string, error) {
	if m.Root == "/" {
		return path.Join(m.Dir, cgroup), nil
	}
	below, ok := strings.CutPrefix(cgroup, m.Root)
	if !ok || (below != "" && below[0] != '/') {
		return "", fmt.Errorf("cgroup %s isn't below %s, which %s shows: %w",
			cgroup, m.Root, m.Dir, ErrUnavailable)
	}
	return path.Join(m.Dir, below), nil
}

// mountLine is what matters here of a line of /proc/self/mountinfo.
type mountLine struct {
	root, dir string
	kind      string // file system type
	readOnly  bool
	super     []string // options of the file system; controllers, for cgroup v1
}

func mounted() ([]mountLine, error) {
	table, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", unavailable(err))
	}
	defer table.Close()

	lines, err := parseMountinfo(table)
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", unavailable(err))
	}
	return lines, nil
}

// parseMountinfo reads the format of proc(5):
//
//	36 35 98:0 /root /dir rw,noatime shared:1 … - type source options
func parseMountinfo(table io.Reader) ([]mountLine, error) {
	var lines []mountLine
	scanner := bufio.NewScanner(table)
	scanner.Buffer(nil, 1<<20) // overlayfs lists every layer in its options
	for scanner.Scan() {
		before, after, ok := strings.Cut(scanner.Text(), " - ")
		fields, rest := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 6 || len(rest) < 3 {
			continue
		}
		super := strings.Split(rest[2], ",")
		lines = append(lines, mountLine{
			root:     unescape(fields[3]),
			dir:      unescape(fields[4]),
			kind:     rest[0],
			readOnly: slices.Contains(strings.Split(fields[5], ","), "ro") || slices.Contains(super, "ro"),
			super:    super,
		})
	}
	return lines, scanner.Err()
}

// unescape undoes the octal escapes (\040 is a space) of the mount table.
func unescape(field string) string {
	if !strings.Contains(field, `\`) {
		return field
	}
	var out strings.Builder
	for i := 0; i < len(field); i++ {
		if field[i] == '\\' && i+3 < len(field) {
			if code, err := strconv.ParseUint(field[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(code))
				i += 3
				continue
			}
		}
		out.WriteByte(field[i])
	}
	return out.String()
}
