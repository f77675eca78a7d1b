package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/sockdist/sockdist/internal/capabilities"
	"golang.org/x/sys/unix"
)

// rights is what this process may.
type rights struct {
	uid          int
	capabilities capabilities.Set
	userNS       bool // in a user namespace of its own
	seccomp      bool // a filter is in place
	err          error
}

// A wantedCapability is one that some verb needs, and what for.
type wantedCapability struct {
	capabilities.Capability
	why   string
	verbs string
}

// wantedCapabilities are all that any verb takes, those first without which
// run doesn't start.
func wantedCapabilities() (all []wantedCapability) {
	why, verbs := make(map[capabilities.Capability][]string), make(map[capabilities.Capability][]string)
	for _, verb := range slices.Sorted(maps.Keys(rightsOf)) {
		for _, r := range rightsOf[verb] {
			for _, n := range r.work.Needs() {
				why[n.Capability] = addOnce(why[n.Capability], n.Why)
				verbs[n.Capability] = addOnce(verbs[n.Capability], verb)
			}
		}
	}
	order := needs("run")
	for _, c := range slices.Sorted(maps.Keys(why)) {
		if !slices.Contains(order, c) {
			order = append(order, c)
		}
	}
	for _, c := range order {
		all = append(all, wantedCapability{c, strings.Join(why[c], ", "), strings.Join(verbs[c], ", ")})
	}
	return all
}

func addOnce(list []string, text string) []string {
	if slices.Contains(list, text) {
		return list
	}
	return append(list, text)
}

// required tells whether a capability is one without which nothing goes.
func required(c capabilities.Capability) bool { return slices.Contains(needs("run"), c) }

// initialUserNamespace is the number of the machine's own, on every machine.
const initialUserNamespace = 0xEFFFFFFD

func readRights() (r rights) {
	r.uid = os.Geteuid()
	r.capabilities, r.err = capabilities.Effective()
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

func (r rights) has(c capabilities.Capability) bool { return r.capabilities.Allows(c) }

// lacks tells whether a required capability is missing.
func (r rights) lacks() bool {
	return slices.ContainsFunc(needs("run"), func(c capabilities.Capability) bool { return !r.has(c) })
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
	for _, c := range wantedCapabilities() {
		if r.has(c.Capability) {
			have = append(have, c.String())
			continue
		}
		missing := check{Name: "capabilities", Level: levelWarn, Found: fmt.Sprintf("%s is missing: to %s (%s)", c, c.why, c.verbs)}
		if required(c.Capability) {
			missing.Level = levelFail
		}
		checks = append(checks, missing)
	}
	if len(checks) > 0 {
		checks[len(checks)-1].Advice = adviceOnRights(r.uid)
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
