package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// maxFiles lets a test hold many sockets.
const maxFiles = 1 << 20

// sysctls of the machine; those of a network namespace hold for the first alone.
var sysctls = map[string]string{
	"fs.nr_open":                   "1048576",
	"fs.file-max":                  "1048576",
	"kernel.printk_ratelimit":      "0",
	"kernel.pid_max":               "65536",
	"net.core.somaxconn":           "4096",
	"net.ipv4.ip_local_port_range": "1024 65535",
	"net.ipv4.tcp_max_syn_backlog": "4096",
}

func setSysctls() error {
	for name, value := range sysctls {
		file := "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
		if err := os.WriteFile(file, []byte(value), 0); err != nil {
			return fmt.Errorf("set %s to %s: %w", name, value, err)
		}
	}
	return nil
}

func raiseLimits() error {
	for resource, limit := range map[int]uint64{unix.RLIMIT_NOFILE: maxFiles, unix.RLIMIT_MEMLOCK: unix.RLIM_INFINITY} {
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return fmt.Errorf("raise limit %d: %w", resource, err)
		}
	}
	return nil
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	request.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	return nil
}
