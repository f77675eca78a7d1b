package packaging

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

const (
	rootVariable   = "PACKAGING_TEST_ROOT"   // an empty folder, to mount on
	cgroupVariable = "PACKAGING_TEST_CGROUP" // a cgroup v2, for all of the machine
	program        = "/lib/systemd/systemd"
)

// becomeInit makes a root folder in memory around this machine's programs, and
// becomes the systemd there. It returns only with an error. We are process 1 of
// our PID namespace; mounts are our own.
func becomeInit() error {
	runtime.LockOSThread() // a namespace is the thread's, and goes on with what that executes
	if err := os.WriteFile(filepath.Join(os.Getenv(cgroupVariable), "cgroup.procs"), []byte("0"), 0); err != nil {
		return fmt.Errorf("enter the cgroup: %w", err)
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("make a cgroup namespace: %w", err)
	}
	root := os.Getenv(rootVariable)
	steps := []func(string) error{mountRoot, mountPrograms, mountKernel, mountDevices, writeFiles, enter}
	for _, step := range steps {
		if err := step(root); err != nil {
			return err
		}
	}
	environment := []string{
		"container=packaging-test", // not every machine's devices and modules are ours
		// None of the machine's own units: they would set its clock, load its modules …
		"SYSTEMD_UNIT_PATH=/etc/systemd/system:/run/systemd/system:/run/systemd/transient",
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin",
	}
	return unix.Exec(program, []string{program, "--system", "--unit=basic.target", "--show-status=no", "--log-target=null"}, environment)
}

func mountRoot(root string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	return mount("root", root, "tmpfs", 0, "mode=755")
}

// mountPrograms shows the programs and libraries of the machine.
func mountPrograms(root string) error {
	for _, name := range []string{"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"} {
		target := filepath.Join(root, name)
		info, err := os.Lstat("/" + name)
		switch {
		case errors.Is(err, os.ErrNotExist):
			continue
		case err != nil:
			return err
		case info.Mode()&os.ModeSymlink != 0:
			destination, err := os.Readlink("/" + name)
			if err == nil {
				err = os.Symlink(destination, target)
			}
			if err != nil {
				return err
			}
		default:
			err := mount("/"+name, target, "", unix.MS_BIND|unix.MS_REC, "")
			if err == nil {
				err = mount("", target, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func mountKernel(root string) error {
	return errors.Join(
		mount("proc", filepath.Join(root, "proc"), "proc", 0, ""),
		mount("sysfs", filepath.Join(root, "sys"), "sysfs", 0, ""),
		mount("cgroup2", filepath.Join(root, "sys/fs/cgroup"), "cgroup2", 0, ""),
		mount("bpf", filepath.Join(root, "sys/fs/bpf"), "bpf", 0, "mode=700"),
		mount("run", filepath.Join(root, "run"), "tmpfs", 0, "mode=755"),
	)
}

func mountDevices(root string) error {
	dev := filepath.Join(root, "dev")
	if err := mount("dev", dev, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		target := filepath.Join(dev, name)
		if err := os.WriteFile(target, nil, 0o666); err != nil {
			return err
		}
		if err := mount("/dev/"+name, target, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return errors.Join(
		os.Symlink("/proc/self/fd", filepath.Join(dev, "fd")),
		mount("devpts", filepath.Join(dev, "pts"), "devpts", 0, "newinstance,ptmxmode=666,mode=620"),
		os.Symlink("pts/ptmx", filepath.Join(dev, "ptmx")),
		mount("shm", filepath.Join(dev, "shm"), "tmpfs", 0, "mode=1777"),
	)
}

func writeFiles(root string) error {
	for _, folder := range []string{"etc/systemd/system", "etc/sockdist", "var/log", "var/tmp", "tmp", "srv", "root", "old"} {
		if err := os.MkdirAll(filepath.Join(root, folder), 0o755); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"etc/passwd":     "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/srv:/bin/false\n",
		"etc/group":      "root:x:0:\nwww-data:x:33:\n",
		"etc/machine-id": "0123456789abcdef0123456789abcdef\n",
		"etc/fstab":      "",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	for _, target := range []string{"basic", "sysinit", "sockets", "network", "shutdown", "multi-user"} {
		text := fmt.Sprintf("[Unit]\nDescription=%s\n", target)
		if err := os.WriteFile(filepath.Join(root, "etc/systemd/system", target+".target"), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// enter makes root the root, and lets go of the old one.
func enter(root string) error {
	if err := unix.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "old"); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount("/old", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the old root: %w", err)
	}
	return unix.Chdir("/")
}

func mount(source, target, kind string, flags uintptr, options string) error {
	if err := os.MkdirAll(target, 0o755); err != nil && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := unix.Mount(source, target, kind, flags, options); err != nil {
		return fmt.Errorf("mount %s on %s: %w", source, target, err)
	}
	return nil
}
