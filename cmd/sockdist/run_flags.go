package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/control/output"
	"github.com/sockdist/sockdist/userspace/scaling"
	"github.com/spf13/cobra"
)

// runFlags are the flags of run as they were given.
type runFlags struct {
	workers string
	policy  string
	ports   []string
	name    string
	user    string
	pin     bool
	udp     bool
	env     []string
	grace   time.Duration
	log     string

	ready        string
	readyTimeout time.Duration
	hangAfter    time.Duration
	hangGrace    time.Duration
	onHang       string
	memoryMax    string
	scaleAt      string
	min, max     int
	takeOver     bool
}

func (f *runFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&f.workers, "workers", "n", "auto", "number of workers, 1 to 256; auto: one for each CPU that this process may use")
	flags.StringVar(&f.policy, "policy", "least", "how connections are given out: "+strings.Join(policyNames(), ", "))
	flags.StringArrayVar(&f.ports, "port", nil, "share this port only (can be repeated); default every port the workers listen on")
	flags.StringVar(&f.name, "name", "", "name of the app (default that of the command)")
	flags.StringVar(&f.user, "user", "", "run the workers as USER or USER:GROUP, names or numbers")
	flags.BoolVar(&f.pin, "pin", false, "keep each worker on a CPU of its own")
	flags.BoolVar(&f.udp, "udp", false, "let the workers share UDP ports too (the kernel's hash gives datagrams out)")
	flags.StringArrayVar(&f.env, "env", nil, "set NAME=VALUE for the workers (can be repeated)")
	flags.DurationVar(&f.grace, "grace", control.DefaultGrace, "how long to wait for connections to end before the workers are stopped")
	flags.StringVar(&f.ready, "ready", "", "URL or path that a worker has to answer (status below 400) before it gets connections")
	flags.DurationVar(&f.readyTimeout, "ready-timeout", control.DefaultReadyTimeout, "how long a new worker of a reload or scale has to get ready")
	flags.DurationVar(&f.hangAfter, "hang-after", control.DefaultHangAfter, "a worker hangs that accepts nothing for this long while connections wait; 0: never")
	flags.StringVar(&f.onHang, "on-hang", string(control.RestartHung), "what to do then: restart (eject it, kill it after --hang-grace), eject, ignore")
	flags.DurationVar(&f.hangGrace, "hang-grace", control.DefaultHangGrace, "how long a worker that hangs has to go on before it is restarted")
	flags.StringVar(&f.memoryMax, "memory-max", "", "the most memory that a worker may have, such as 200M; with more it is killed and started again")
	flags.StringVar(&f.scaleAt, "scale-at", "", "let the number of workers follow the load: how much one may carry, in connections (200) or CPU (80%)")
	flags.IntVar(&f.min, "min", 0, "the fewest workers with --scale-at (default 1)")
	flags.IntVar(&f.max, "max", 0, "the most workers with --scale-at (default as -n says)")
	flags.BoolVar(&f.takeOver, "take-over", false, "replace the supervisor that the app has now, and keep its workers: for an upgrade of sockdist")
	flags.StringVar(&f.log, "log", "auto", "workers' output: plain, prefix (each line with its slot), json; auto: prefix on a terminal")
	_ = cmd.RegisterFlagCompletionFunc("policy", cobra.FixedCompletions(policyNames(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("on-hang", cobra.FixedCompletions([]string{"restart", "eject", "ignore"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("log", cobra.FixedCompletions([]string{"auto", "plain", "prefix", "json"}, cobra.ShellCompDirectiveNoFileComp))
}

func (f runFlags) config(command []string) (c control.Config, policy loader.Policy, err error) {
	c = control.Config{Name: f.name, Command: command, User: f.user, Pin: f.pin, Env: f.env, Grace: f.grace,
		Ready: f.ready, ReadyTimeout: f.readyTimeout, HangAfter: f.hangAfter, OnHang: control.OnHang(f.onHang), HangGrace: f.hangGrace,
		Min: f.min, Max: f.max, TakeOver: f.takeOver}
	if c.Name == "" {
		c.Name = nameOf(command[0])
	}
	if err := loader.CheckName(c.Name); err != nil {
		return c, 0, err
	}
	if c.Workers, err = parseWorkers(f.workers); err != nil {
		return c, 0, err
	}
	if c.Ports, err = parsePorts(f.ports); err != nil {
		return c, 0, err
	}
	if err := checkAssignments(f.env); err != nil {
		return c, 0, err
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
		least time.Duration
	}{
		{"grace", f.grace, 0}, {"ready-timeout", f.readyTimeout, time.Millisecond},
		{"hang-after", f.hangAfter, 0}, {"hang-grace", f.hangGrace, time.Millisecond},
	} {
		if d.value < d.least {
			return c, 0, fmt.Errorf("--%s %v: must be at least %v", d.flag, d.value, d.least)
		}
	}
	if !slices.Contains([]control.OnHang{control.RestartHung, control.EjectHung, control.IgnoreHung}, c.OnHang) {
		return c, 0, fmt.Errorf("--on-hang %s: must be restart, eject or ignore", f.onHang)
	}
	if f.ready != "" {
		if err := control.CheckReady(f.ready); err != nil {
			return c, 0, fmt.Errorf("--ready %w", err)
		}
	}
	if f.memoryMax != "" {
		if c.MemoryMax, err = cgroup.ParseSize(f.memoryMax); err != nil {
			return c, 0, fmt.Errorf("--memory-max %s: %w", f.memoryMax, err)
		}
	}
	if f.scaleAt != "" {
		if c.ScaleAt, err = scaling.ParseTarget(f.scaleAt); err != nil {
			return c, 0, fmt.Errorf("--scale-at %s: %w", f.scaleAt, err)
		}
	}
	if c.Log, err = output.ParseFormat(f.log); err != nil {
		return c, 0, err
	}
	policy, err = loader.ParsePolicy(f.policy)
	return c, policy, err
}

// nameOf makes an app's name of a command: node, python3, my-server.
func nameOf(command string) string {
	base := filepath.Base(command)
	base = strings.TrimSuffix(base, filepath.Ext(base))
	name := strings.Map(func(r rune) rune {
		if loader.CheckName(string(r)) != nil || r == ':' {
			return '-'
		}
		return r
	}, base)
	if name == "" {
		return "app"
	}
	return name[:min(len(name), 48)] // room for the port in a group's name
}

// parseWorkers reads -n; 0 stands for auto.
func parseWorkers(text string) (int, error) {
	if text == "auto" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > control.MaxWorkers {
		return 0, fmt.Errorf("-n %s: must be auto or 1 to %d", text, control.MaxWorkers)
	}
	return n, nil
}

func parsePorts(texts []string) (ports []uint16, err error) {
	for _, text := range texts {
		for _, one := range strings.Split(text, ",") {
			port, err := strconv.ParseUint(one, 10, 16)
			if err != nil || port == 0 {
				return nil, fmt.Errorf("--port %s: must be 1 to 65535", text)
			}
			ports = append(ports, uint16(port))
		}
	}
	if len(ports) > loader.MaxPorts {
		return nil, fmt.Errorf("--port: %d ports, at most %d are possible", len(ports), loader.MaxPorts)
	}
	return ports, nil
}

func checkAssignments(texts []string) error {
	for _, text := range texts {
		if name, _, ok := strings.Cut(text, "="); !ok || name == "" {
			return fmt.Errorf("--env %s: write NAME=VALUE", text)
		}
	}
	return nil
}
