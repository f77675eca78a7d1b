package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// checkGuards looks at what can forbid things in spite of all capabilities.
func checkGuards(r rights) []check {
	lockdown, err := os.ReadFile("/sys/kernel/security/lockdown")
	return []check{
		judgeLockdown(string(lockdown), err),
		judgePtrace(readSetting("kernel.yama.ptrace_scope"), r.has(unix.CAP_SYS_PTRACE)),
		judgeSeccomp(r.seccomp),
	}
}

// judgeLockdown reads a line like "none [integrity] confidentiality".
func judgeLockdown(text string, err error) check {
	c := check{Name: "lockdown", Level: levelOK}
	_, rest, _ := strings.Cut(text, "[")
	mode, _, _ := strings.Cut(rest, "]")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.Found = "not there"
	case err != nil:
		c.Level, c.Found = levelWarn, fmt.Sprintf("can't tell: %s", oneLine(err))
	case mode == "confidentiality":
		c.Level, c.Found = levelFail, "confidentiality: BPF programs may not read kernel memory, and so can't count"
		c.Advice = "boot with lockdown=integrity"
	default:
		c.Found = mode
	}
	return c
}

func judgePtrace(s setting, capable bool) check {
	c := check{Name: s.name, Level: levelOK, Found: s.value}
	switch {
	case s.value == "":
		c.Found = "not there: no further limits on fetching sockets"
	case s.value == "3":
		c.Level, c.Found = levelFail, "3: nobody may fetch sockets from other processes, which run and attach do"
		c.Advice = "set it to 2 or less in /etc/sysctl.d and boot again: 3 can't be taken back"
	case s.value == "2" && !capable:
		c.Level, c.Found = levelFail, "2: sockets can only be fetched with CAP_SYS_PTRACE, which is missing"
		c.Advice = "run as root"
	}
	return c
}

func judgeSeccomp(filtered bool) check {
	c := check{Name: "seccomp", Level: levelOK, Found: "no filter"}
	if filtered {
		c.Found = "a filter is in place; where it is in the way, lines above say so"
	}
	return c
}
