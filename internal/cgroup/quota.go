package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// CPUs returns how many CPUs' worth of time the cgroups of this process leave
// it (2.5 is two and a half), and false when nothing limits it. The tightest
// limit between the process and the root counts: cpu.max of version 2, or
// cpu.cfs_quota_us of version 1.
func CPUs() (float64, bool, error) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil // a kernel without cgroups limits nothing
	}
	if err != nil {
		return 0, false, fmt.Errorf("read the cgroups of this process: %w", err)
	}
	mounts, err := mounted()
	if err != nil {
		return 0, false, err
	}
	limit, limited := quota(string(own), mounts)
	return limit, limited, nil
}

// quota ignores what it can't read: a limit that isn't shown to us is one
// that we can't plan with.
func quota(own string, mounts []mountLine) (limit float64, limited bool) {
	for _, line := range mounts {
		cgroup, read := membership(own, line)
		if read == nil {
			continue
		}
		mount := Mount{Dir: line.dir, Root: line.root}
		dir, err := mount.resolve(cgroup)
		if err != nil {
			continue
		}
		for ; strings.HasPrefix(dir, mount.Dir); dir = path.Dir(dir) {
			if cpus, ok := read(dir); ok && (!limited || cpus < limit) {
				limit, limited = cpus, true
			}
			if dir == "/" {
				break
			}
		}
	}
	return limit, limited
}

// membership returns the cgroup of this process in a mounted hierarchy, and
// how that one states a limit; nil for a mount that is none of CPU time.
func membership(own string, line mountLine) (cgroup string, read func(string) (float64, bool)) {
	for entry := range strings.Lines(own) {
		fields := strings.SplitN(strings.TrimSuffix(entry, "\n"), ":", 3)
		if len(fields) != 3 {
			continue
		}
		switch controllers := strings.Split(fields[1], ","); {
		case line.kind == "cgroup2" && fields[0] == "0" && fields[1] == "":
			return fields[2], readMax
		case line.kind == "cgroup" && slices.Contains(controllers, "cpu") && slices.Contains(line.super, "cpu"):
			return fields[2], readCFS
		}
	}
	return "", nil
}

// readMax reads "QUOTA PERIOD" or "max PERIOD".
func readMax(dir string) (float64, bool) {
	text, err := os.ReadFile(path.Join(dir, "cpu.max"))
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(text))
	if len(fields) != 2 {
		return 0, false
	}
	return ratio(fields[0], fields[1])
}

// readCFS reads two files, the first of which says -1 for no limit.
func readCFS(dir string) (float64, bool) {
	quota, err := os.ReadFile(path.Join(dir, "cpu.cfs_quota_us"))
	if err != nil {
		return 0, false
	}
	period, err := os.ReadFile(path.Join(dir, "cpu.cfs_period_us"))
	if err != nil {
		return 0, false
	}
	return ratio(strings.TrimSpace(string(quota)), strings.TrimSpace(string(period)))
}

func ratio(quota, period string) (float64, bool) {
	q, err := strconv.ParseFloat(quota, 64)
	if err != nil || q <= 0 {
		return 0, false
	}
	p, err := strconv.ParseFloat(period, 64)
	if err != nil || p <= 0 {
		return 0, false
	}
	return q / p, true
}
