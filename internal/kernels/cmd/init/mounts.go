package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

type mount struct {
	kind, target, options string
	perm                  os.FileMode
}

var mounts = []mount{
	{"proc", "/proc", "", 0o555},
	{"sysfs", "/sys", "", 0o555},
	{"devtmpfs", "/dev", "", 0o755},
	{"devpts", "/dev/pts", "", 0o755},
	{"tmpfs", "/dev/shm", "mode=1777", 0o1777},
	{"tmpfs", "/tmp", "mode=1777", 0o1777},
	{"tmpfs", "/run", "mode=755", 0o755},
	{"tracefs", "/sys/kernel/tracing", "", 0o700},
	{"cgroup2", cgroupRoot, "", 0o755},
}

func mountAll(bpffs bool) error {
	all := mounts
	if bpffs {
		all = append(all, mount{"bpf", "/sys/fs/bpf", "mode=700", 0o700})
	}
	for _, m := range all {
		if err := os.MkdirAll(m.target, m.perm); err != nil {
			return fmt.Errorf("make %s: %w", m.target, err)
		}
		if err := unix.Mount(m.kind, m.target, m.kind, unix.MS_NOSUID, m.options); err != nil {
			return fmt.Errorf("mount %s at %s: %w", m.kind, m.target, err)
		}
	}
	// Where named network namespaces are kept.
	if err := os.MkdirAll("/run/netns", 0o755); err != nil {
		return fmt.Errorf("make /run/netns: %w", err)
	}
	return nil
}

// delegateControllers lets tests use in their cgroups what the kernel has.
func delegateControllers() error {
	for _, controller := range []string{"cpu", "memory", "pids"} {
		if err := os.WriteFile(cgroupRoot+"/cgroup.subtree_control", []byte("+"+controller), 0); err != nil {
			return fmt.Errorf("turn on the cgroup controller %s: %w", controller, err)
		}
	}
	return nil
}
