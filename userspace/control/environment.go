package control

import (
	"fmt"
	"strconv"
	"strings"
)

const (
	slotVariable    = "SOCKDIST_SLOT"
	workersVariable = "SOCKDIST_WORKERS"
	socketVariable  = "SOCKDIST_SOCKET" // where library workers join
)

// environment collects variables; each has one value, and keeps the place at
// which it first came.
type environment struct {
	names  []string
	values map[string]string
}

// set takes NAME=VALUE; the last value wins. C programs would see the first of
// two.
func (e *environment) set(assignment string) {
	name, value, ok := strings.Cut(assignment, "=")
	if !ok {
		return
	}
	if _, known := e.values[name]; !known {
		e.names = append(e.names, name)
	}
	e.values[name] = value
}

func (e *environment) setDefault(name, value string) {
	if _, known := e.values[name]; !known {
		e.set(name + "=" + value)
	}
}

func (e *environment) list() []string {
	list := make([]string, len(e.names))
	for i, name := range e.names {
		list[i] = name + "=" + e.values[name]
	}
	return list
}

// workerEnvironment returns the environment of a worker: what this process
// has, then where the worker stands, then what the user wants. Go servers get
// one thread each, which is what their slot is for, and plain TCP listeners,
// because the kernel can't put MPTCP ones into a slot; unless the user set
// these.
func workerEnvironment(inherited, wanted []string, slot, workers int, who *account) []string {
	e := &environment{values: make(map[string]string)}
	for _, assignment := range inherited {
		e.set(assignment)
	}
	if who != nil && who.name != "" {
		e.set("USER=" + who.name)
		e.set("LOGNAME=" + who.name)
		e.set("HOME=" + who.home)
	}
	e.set(slotVariable + "=" + strconv.Itoa(slot))
	e.set(workersVariable + "=" + strconv.Itoa(workers))
	for _, assignment := range wanted {
		e.set(assignment)
	}
	e.setDefault("GOMAXPROCS", "1")
	e.set("GODEBUG=" + withoutMPTCP(e.values["GODEBUG"]))
	return e.list()
}

// withoutMPTCP adds to the settings in GODEBUG, unless they say something about
// MPTCP already.
func withoutMPTCP(settings string) string {
	const name = "multipathtcp"
	for setting := range strings.SplitSeq(settings, ",") {
		if key, _, _ := strings.Cut(setting, "="); key == name {
			return settings
		}
	}
	if settings != "" {
		settings += ","
	}
	return settings + name + "=0"
}

func checkAssignments(wanted []string) error {
	for _, assignment := range wanted {
		if name, _, ok := strings.Cut(assignment, "="); !ok || name == "" || strings.Contains(assignment, "\x00") {
			return fmt.Errorf("%q can't be set in the environment: write NAME=VALUE", assignment)
		}
	}
	return nil
}
