package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// rights is what this process may.
type rights struct {
	uid          int
	capabilities uint64
	userNS       bool // in a user namespace of its own
	seccomp      bool // a filter is in place
	err          error
}

// A wantedCapability is one that some verb needs, and what for.
type wantedCapability struct {
	bit   uint
	name  string
	why   string
	verbs string
}

var wantedCapabilities = []wantedCapability{
	{unix.CAP_BPF, "CAP_BPF", "load BPF programs and maps", "run, attach, demo"},
	{unix.CAP_PERFMON, "CAP_PERFMON", "count connections at a tracepoint", "run, attach, demo; status, to see who steers"},
	{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN", "steer sockets and hook binds", "run, attach, demo"},
	{unix.CAP_SYS_PTRACE, "CAP_SYS_PTRACE", "fetch sockets of other processes", "run, attach"},
	{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN", "mount bpffs, and enter network namespaces", "run; all, for groups elsewhere"},
	{unix.CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE", "use pins and cgroups of other users", "all, where another user made them"},
	{unix.CAP_KILL, "CAP_KILL", "stop workers of other users", "run --user"},
	{unix.CAP_SETUID, "CAP_SETUID", "start workers as another user", "run --user"},
	{unix.CAP_SETGID, "CAP_SETGID", "start workers as another user", "run --user"},
}

// required tells whether a capability is one without which nothing goes.
func required(bit uint) bool {
	for _, c := range runCapabilities {
		if c.bit == bit {
			return true
		}
	}
	return false
}

// initialUserNamespace is the number of the machine's own, on every machine.
const initialUserNamespace = 0xEFFFFFFD

func readRights() (r rights) {
	r.uid = os.Geteuid()
	r.capabilities, r.err = effectiveCapabilities()
	var stat unix.Stat_t
	if err := unix.Stat("/proc/self/ns/user", &stat); err == nil {
		r.userNS = stat.Ino != initialUserNamespace
	}
	r.seccomp = statusField("Seccomp") == "2"
	return r
}

func statusField(name string) string {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, name+":"); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (r rights) has(bit uint) bool { return r.capabilities&(1<<bit) != 0 }

// lacks tells whether a required capability is missing.
func (r rights) lacks() bool {
	for _, c := range wantedCapabilities {
		if required(c.bit) && !r.has(c.bit) {
			return true
		}
	}
	return false
}

// adviceIfDenied says what to do when the kernel said "not permitted".
func (r rights) adviceIfDenied() string {
	switch {
	case r.lacks() && r.uid != 0:
		return "run doctor as root (sudo sockdist doctor)"
	case r.userNS:
		return "run it outside of the user namespace"
	case r.lacks():
		return "see the lines on capabilities"
	case r.seccomp:
		return "let the seccomp filter allow bpf, perf_event_open, unshare, mount and setns"
	}
	return "something forbids it in spite of all capabilities: see lockdown, or the log of SELinux or AppArmor"
}

func checkRights(r rights) (checks []check) {
	if r.err != nil {
		return []check{{Name: "capabilities", Level: levelFail, Found: oneLine(r.err)}}
	}
	var have []string
	for _, c := range wantedCapabilities {
		if r.has(c.bit) {
			have = append(have, c.name)
			continue
		}
		missing := check{Name: "capabilities", Level: levelWarn, Found: fmt.Sprintf("%s is missing: to %s (%s)", c.name, c.why, c.verbs)}
		if required(c.bit) {
			missing.Level = levelFail
		}
		checks = append(checks, missing)
	}
	if len(checks) > 0 {
		checks[len(checks)-1].Advice = r.adviceOnCapabilities()
	}
	if len(have) > 0 {
		checks = slices.Insert(checks, 0, check{Name: "capabilities", Level: levelOK, Found: strings.Join(have, ", ")})
	}
	if r.userNS {
		checks = append(checks, check{
			Name: "user namespace", Level: levelFail, Found: "this process is in one, where capabilities don't count for BPF",
			Advice: "run it outside: a container without user namespaces (userns-remap, rootless), or on the host",
		})
	}
	return checks
}

func (r rights) adviceOnCapabilities() string {
	if r.uid != 0 {
		return "run as root (sudo)"
	}
	return "give the container or service these capabilities (docker run --cap-add, CapabilityBoundingSet=)"
}
