package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/sockdist/sockdist/loader"
	"golang.org/x/sys/unix"
)

// runCapabilities is what `run` needs, and for what.
var runCapabilities = []struct {
	bit  uint
	name string
}{
	{unix.CAP_BPF, "CAP_BPF"},               // load programs and maps
	{unix.CAP_PERFMON, "CAP_PERFMON"},       // the state tracepoint
	{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"},   // socket arrays, bind hooks
	{unix.CAP_SYS_PTRACE, "CAP_SYS_PTRACE"}, // fetch a worker's listener
	{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN"},   // read pins by name, mount bpffs
}

// mayRun names exactly the capabilities that this process lacks.
func mayRun() error {
	have, err := effectiveCapabilities()
	if err != nil {
		return err
	}
	var missing []string
	for _, c := range runCapabilities {
		if have&(1<<c.bit) == 0 {
			missing = append(missing, c.name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return &loader.UnsupportedError{Feature: "run as this user (uid " + fmt.Sprint(os.Geteuid()) + ")",
		Err: errors.New("missing " + strings.Join(missing, ", ")), Advice: "run it as root (sudo)"}
}

func effectiveCapabilities() (uint64, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, fmt.Errorf("read capabilities: %w", err)
	}
	return uint64(data[0].Effective) | uint64(data[1].Effective)<<32, nil
}
