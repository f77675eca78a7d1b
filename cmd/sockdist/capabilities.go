package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/sockdist/sockdist/loader"
	"golang.org/x/sys/unix"
)

// A capability is one that a verb needs.
type capability struct {
	bit  uint
	name string
	// wider is one that serves as well, 0 if there is none.
	wider uint
}

// runCapabilities is what `run` needs. CAP_SYS_ADMIN besides is for mounting
// bpffs, where nobody did.
var runCapabilities = []capability{
	{unix.CAP_BPF, "CAP_BPF", unix.CAP_SYS_ADMIN},         // load programs and maps
	{unix.CAP_PERFMON, "CAP_PERFMON", unix.CAP_SYS_ADMIN}, // the state tracepoint
	{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN", 0},              // socket arrays, bind hooks
	{unix.CAP_SYS_PTRACE, "CAP_SYS_PTRACE", 0},            // fetch a worker's listener
}

// in tells whether a set of capabilities has this one, or the wider.
func (c capability) in(set uint64) bool {
	return set&(1<<c.bit) != 0 || c.wider != 0 && set&(1<<c.wider) != 0
}

// mayRun names exactly the capabilities that this process lacks.
func mayRun() error {
	have, err := effectiveCapabilities()
	if err != nil {
		return err
	}
	var missing []string
	for _, c := range runCapabilities {
		if !c.in(have) {
			missing = append(missing, c.name)
		}
	}
	if mount, err := loader.BPFFS(); err == nil && mount == "" && have&(1<<unix.CAP_SYS_ADMIN) == 0 {
		missing = append(missing, "CAP_SYS_ADMIN (to mount bpffs)")
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
