package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A setting is a sysctl; value is "" if it is not there.
type setting struct{ name, value string }

func readSetting(name string) setting {
	text, err := os.ReadFile(filepath.Join("/proc/sys", strings.ReplaceAll(name, ".", "/")))
	if err != nil {
		return setting{name: name}
	}
	return setting{name, strings.TrimSpace(string(text))}
}

// below tells whether the setting is a number smaller than limit.
func (s setting) below(limit int) bool {
	n, err := strconv.Atoi(s.value)
	return err == nil && n < limit
}

// A settingRule says when a setting is worth a warning. Settings of the network
// are those of this network namespace.
type settingRule struct {
	name   string
	bad    func(setting) bool
	means  string // what follows from a bad value
	note   string // what to know about any other; may be empty
	better string // a value that isn't bad
}

func equals(values ...string) func(setting) bool {
	return func(s setting) bool {
		for _, v := range values {
			if s.value == v {
				return true
			}
		}
		return false
	}
}

var settingRules = []settingRule{
	{
		name: "net.core.somaxconn", better: "4096",
		bad:   func(s setting) bool { return s.below(1024) },
		means: "no accept queue can be longer: bursts of connections are dropped",
		note:  "the longest that an accept queue can be",
	},
	{
		name: "net.ipv4.tcp_max_syn_backlog", better: "4096",
		bad:   func(s setting) bool { return s.below(1024) && readSetting("net.ipv4.tcp_syncookies").value == "0" },
		means: "more handshakes than that at once are dropped, as SYN cookies are off",
		note:  "handshakes at once before SYN cookies are sent",
	},
	{
		name: "net.ipv4.tcp_syncookies", better: "1",
		bad:   equals("0", "2"),
		means: "0: a SYN flood locks clients out; 2: every handshake is done by cookies, and picked twice",
		note:  "cookies when the queue is full",
	},
	{
		name: "net.ipv4.tcp_migrate_req",
		note: "any value is fine: the program moves queued connections by itself",
	},
	{
		name: "kernel.unprivileged_bpf_disabled",
		note: "any value is fine: sockdist works as root",
	},
	{
		name: "net.core.bpf_jit_enable", better: "1",
		bad:   equals("0"),
		means: "each pick is interpreted, which takes several times as long",
	},
	{
		name: "kernel.bpf_stats_enabled", better: "0",
		bad:   equals("1"),
		means: "each pick reads the clock twice more, which takes about as long as the pick",
	},
}

func checkSettings() (checks []check) {
	for _, rule := range settingRules {
		checks = append(checks, rule.judge(readSetting(rule.name)))
	}
	return checks
}

func (r settingRule) judge(s setting) check {
	c := check{Name: r.name, Level: levelOK, Found: s.value}
	switch {
	case s.value == "":
		c.Found = "not to be seen from here"
	case r.bad != nil && r.bad(s):
		c.Level = levelWarn
		c.Found += " (" + r.means + ")"
		c.Advice = "sysctl -w " + r.name + "=" + r.better
	case r.note != "":
		c.Found += " (" + r.note + ")"
	}
	return c
}
