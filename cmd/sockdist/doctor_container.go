package main

import (
	"bytes"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// initialPIDNamespace is the number of the machine's own, on every machine.
const initialPIDNamespace = 0xEFFFFFFC

func checkContainer(r rights) check {
	c := check{Name: "container", Level: levelOK, Found: "none"}
	kind := containerKind()
	var stat unix.Stat_t
	ownPIDs := unix.Stat("/proc/self/ns/pid", &stat) == nil && stat.Ino != initialPIDNamespace
	switch {
	case kind == "" && !ownPIDs:
		return c
	case kind == "":
		kind = "unknown kind"
	}
	c.Found = kind
	if ownPIDs {
		c.Found += ", with process numbers of its own: attach finds the servers in it, not those of the machine"
	}
	if r.lacks() && r.uid == 0 {
		c.Advice = "docker run --privileged --cgroupns=private, or the capabilities above with writable /sys/fs/bpf and /sys/fs/cgroup"
	}
	return c
}

// containerKind is the name of the container manager, or "".
func containerKind() string {
	for path, kind := range map[string]string{
		"/run/.containerenv":             "podman",
		"/.dockerenv":                    "docker",
		"/var/run/secrets/kubernetes.io": "kubernetes",
	} {
		if _, err := os.Stat(path); err == nil {
			return kind
		}
	}
	if kind, err := os.ReadFile("/run/systemd/container"); err == nil {
		return strings.TrimSpace(string(kind))
	}
	variables, _ := os.ReadFile("/proc/1/environ")
	for variable := range bytes.SplitSeq(variables, []byte{0}) {
		if kind, found := bytes.CutPrefix(variable, []byte("container=")); found {
			return string(kind)
		}
	}
	return ""
}
