package main

import (
	"fmt"
	"os"
)

// makeFiles makes what programs expect of a root file system.
func makeFiles() error {
	for _, dir := range []string{"/etc", "/proc", "/sys", "/dev", "/tmp", "/run", "/var", "/root", "/bin", "/sbin", "/usr/bin", "/usr/sbin"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make %s: %w", dir, err)
		}
	}
	for name, content := range map[string]string{
		"/etc/passwd":        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
		"/etc/group":         "root:x:0:\nnogroup:x:65534:\n",
		"/etc/hosts":         "127.0.0.1 localhost\n::1 localhost\n",
		"/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
		"/etc/resolv.conf":   "",
	} {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	if err := os.Symlink("/run", "/var/run"); err != nil {
		return fmt.Errorf("link /var/run: %w", err)
	}
	return nil
}

// linkDescriptors makes the names by which programs open their own descriptors.
func linkDescriptors() error {
	for name, target := range map[string]string{
		"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0",
		"/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, name); err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
	}
	return nil
}
