package capabilities

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// A Capability is one of capabilities(7), by the kernel's number.
type Capability uint8

// Those that sockdist has to do with.
const (
	Chown          Capability = unix.CAP_CHOWN
	DACOverride    Capability = unix.CAP_DAC_OVERRIDE
	DACReadSearch  Capability = unix.CAP_DAC_READ_SEARCH
	Kill           Capability = unix.CAP_KILL
	SetGID         Capability = unix.CAP_SETGID
	SetUID         Capability = unix.CAP_SETUID
	NetBindService Capability = unix.CAP_NET_BIND_SERVICE
	NetAdmin       Capability = unix.CAP_NET_ADMIN
	SysPtrace      Capability = unix.CAP_SYS_PTRACE
	SysAdmin       Capability = unix.CAP_SYS_ADMIN
	PerfMon        Capability = unix.CAP_PERFMON
	BPF            Capability = unix.CAP_BPF
)

var names = map[Capability]string{
	Chown: "CAP_CHOWN", DACOverride: "CAP_DAC_OVERRIDE", DACReadSearch: "CAP_DAC_READ_SEARCH", Kill: "CAP_KILL",
	SetGID: "CAP_SETGID", SetUID: "CAP_SETUID", NetBindService: "CAP_NET_BIND_SERVICE", NetAdmin: "CAP_NET_ADMIN",
	SysPtrace: "CAP_SYS_PTRACE", SysAdmin: "CAP_SYS_ADMIN", PerfMon: "CAP_PERFMON", BPF: "CAP_BPF",
}

// String is the name of capabilities(7), such as CAP_BPF.
func (c Capability) String() string {
	if name, ok := names[c]; ok {
		return name
	}
	return fmt.Sprintf("capability %d", uint8(c))
}

// wider is the capability that the kernel takes as well.
var wider = map[Capability]Capability{
	BPF:           SysAdmin,
	PerfMon:       SysAdmin,
	DACReadSearch: DACOverride, // for what sockdist does: look into folders
}
