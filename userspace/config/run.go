package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/control/output"
	"github.com/sockdist/sockdist/userspace/scaling"
)

// Run are the settings of an app as they are written: on the command line of
// sockdist run, or in a file. What they mean is in the help of run. The zero
// value is no good one; see [DefaultRun].
type Run struct {
	Command []string `json:"command"`
	Workers string   `json:"workers"` // a number, or auto
	Policy  string   `json:"policy"`
	Ports   []string `json:"ports,omitempty"`
	User    string   `json:"user,omitempty"`
	Pin     bool     `json:"pin,omitempty"`
	UDP     bool     `json:"udp,omitempty"`
	Env     []string `json:"env,omitempty"` // NAME=VALUE
	Log     string   `json:"log"`

	Grace        time.Duration `json:"grace"`
	Ready        string        `json:"ready,omitempty"`
	ReadyTimeout time.Duration `json:"ready-timeout"`
	HangAfter    time.Duration `json:"hang-after"`
	OnHang       string        `json:"on-hang"`
	HangGrace    time.Duration `json:"hang-grace"`

	MemoryMax string `json:"memory-max,omitempty"`
	ScaleAt   string `json:"scale-at,omitempty"`
	Min       int    `json:"min,omitempty"`
	Max       int    `json:"max,omitempty"`
	TakeOver  bool   `json:"take-over,omitempty"`
}

// DefaultRun has the value of every setting that nobody gave.
func DefaultRun() Run {
	return Run{
		Workers: "auto", Policy: loader.Least.String(), Log: output.Auto.String(), Grace: control.DefaultGrace,
		ReadyTimeout: control.DefaultReadyTimeout, HangAfter: control.DefaultHangAfter,
		OnHang: string(control.RestartHung), HangGrace: control.DefaultHangGrace,
	}
}

// OnHang are the values of that setting.
func OnHang() []string {
	return []string{string(control.RestartHung), string(control.EjectHung), string(control.IgnoreHung)}
}

// Meaning is what settings come to.
type Meaning struct {
	control.Config // without what isn't a setting
	Policy         loader.Policy
	UDP            bool
}

// Read finds out what the settings mean, and all that is wrong with them.
func (r Run) Read(name string) (m Meaning, faults []Fault) {
	m.Config = control.Config{Name: name, Command: r.Command, User: r.User, Pin: r.Pin, Env: r.Env, Grace: r.Grace,
		Ready: r.Ready, ReadyTimeout: r.ReadyTimeout, HangAfter: r.HangAfter, OnHang: control.OnHang(r.OnHang), HangGrace: r.HangGrace,
		Min: r.Min, Max: r.Max, TakeOver: r.TakeOver}
	m.UDP = r.UDP
	note := func(key string, err error) {
		if err != nil {
			faults = append(faults, Fault{key, err})
		}
	}
	var err error
	note("name", loader.CheckName(name))
	m.Workers, err = parseWorkers(r.Workers)
	note("workers", err)
	m.Ports, err = ParsePorts(r.Ports)
	note("ports", err)
	note("env", checkAssignments(r.Env))
	faults = append(faults, r.checkTimes()...)
	if !slices.Contains(OnHang(), r.OnHang) {
		note("on-hang", fmt.Errorf("%s: must be restart, eject or ignore", r.OnHang))
	}
	if r.Ready != "" {
		note("ready", control.CheckReady(r.Ready))
	}
	if r.MemoryMax != "" {
		if m.MemoryMax, err = cgroup.ParseSize(r.MemoryMax); err != nil {
			note("memory-max", fmt.Errorf("%s: %w", r.MemoryMax, err))
		}
	}
	if r.ScaleAt != "" {
		if m.ScaleAt, err = scaling.ParseTarget(r.ScaleAt); err != nil {
			note("scale-at", fmt.Errorf("%s: %w", r.ScaleAt, err))
		}
	}
	m.Log, err = output.ParseFormat(r.Log)
	note("log", err)
	m.Policy, err = loader.ParsePolicy(r.Policy)
	note("policy", err)
	return m, faults
}

func (r Run) checkTimes() (faults []Fault) {
	for _, d := range []struct {
		key          string
		value, least time.Duration
	}{
		{"grace", r.Grace, 0}, {"ready-timeout", r.ReadyTimeout, time.Millisecond},
		{"hang-after", r.HangAfter, 0}, {"hang-grace", r.HangGrace, time.Millisecond},
	} {
		if d.value < d.least {
			faults = append(faults, Fault{d.key, fmt.Errorf("%v: must be at least %v", d.value, d.least)})
		}
	}
	return faults
}

// parseWorkers reads a number of workers; 0 stands for auto.
func parseWorkers(text string) (int, error) {
	if text == "auto" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > control.MaxWorkers {
		return 0, fmt.Errorf("%s: must be auto or 1 to %d", text, control.MaxWorkers)
	}
	return n, nil
}

// ParsePorts reads ports, each text one or several with commas between.
func ParsePorts(texts []string) (ports []uint16, err error) {
	for _, text := range texts {
		for one := range strings.SplitSeq(text, ",") {
			port, err := strconv.ParseUint(one, 10, 16)
			if err != nil || port == 0 {
				return nil, fmt.Errorf("%s: must be 1 to 65535", text)
			}
			ports = append(ports, uint16(port))
		}
	}
	if len(ports) > loader.MaxPorts {
		return nil, fmt.Errorf("%d ports, at most %d are possible", len(ports), loader.MaxPorts)
	}
	return ports, nil
}

func checkAssignments(texts []string) error {
	for _, text := range texts {
		if name, _, ok := strings.Cut(text, "="); !ok || name == "" || strings.Contains(text, "\x00") {
			return fmt.Errorf("%q: write NAME=VALUE", text)
		}
	}
	return nil
}
