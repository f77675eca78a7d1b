package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/config"
	"github.com/sockdist/sockdist/userspace/control"
	"github.com/spf13/cobra"
)

// runFlags are the flags of run as they were given.
type runFlags struct {
	config.Run
	name string
}

func (f *runFlags) register(cmd *cobra.Command) {
	f.Run = config.DefaultRun()
	flags := cmd.Flags()
	flags.StringVarP(&f.Workers, "workers", "n", "auto", "number of workers, 1 to 256; auto: one for each CPU that this process may use")
	flags.StringVar(&f.Policy, "policy", "least", "how connections are given out: "+strings.Join(policyNames(), ", "))
	flags.StringArrayVar(&f.Ports, "port", nil, "share this port only (can be repeated); default every port the workers listen on")
	flags.StringVar(&f.name, "name", "", "name of the app (default that of the command)")
	flags.StringVar(&f.User, "user", "", "run the workers as USER or USER:GROUP, names or numbers")
	flags.BoolVar(&f.Pin, "pin", false, "keep each worker on a CPU of its own")
	flags.BoolVar(&f.UDP, "udp", false, "let the workers share UDP ports too (the kernel's hash gives datagrams out)")
	flags.StringArrayVar(&f.Env, "env", nil, "set NAME=VALUE for the workers (can be repeated)")
	flags.DurationVar(&f.Grace, "grace", control.DefaultGrace, "how long to wait for connections to end before the workers are stopped")
	flags.StringVar(&f.Ready, "ready", "", "URL or path that a worker has to answer (status below 400) before it gets connections")
	flags.DurationVar(&f.ReadyTimeout, "ready-timeout", control.DefaultReadyTimeout, "how long a new worker of a reload or scale has to get ready")
	flags.DurationVar(&f.HangAfter, "hang-after", control.DefaultHangAfter, "a worker hangs that accepts nothing for this long while connections wait; 0: never")
	flags.StringVar(&f.OnHang, "on-hang", f.OnHang, "what to do then: restart (eject it, kill it after --hang-grace), eject, ignore")
	flags.DurationVar(&f.HangGrace, "hang-grace", control.DefaultHangGrace, "how long a worker that hangs has to go on before it is restarted")
	flags.StringVar(&f.MemoryMax, "memory-max", "", "the most memory that a worker may have, such as 200M; with more it is killed and started again")
	flags.StringVar(&f.ScaleAt, "scale-at", "", "let the number of workers follow the load: how much one may carry, in connections (200) or CPU (80%)")
	flags.IntVar(&f.Min, "min", 0, "the fewest workers with --scale-at (default 1)")
	flags.IntVar(&f.Max, "max", 0, "the most workers with --scale-at (default as -n says)")
	flags.BoolVar(&f.TakeOver, "take-over", false, "replace the supervisor that the app has now, and keep its workers: for an upgrade of sockdist")
	flags.StringVar(&f.Log, "log", "auto", "workers' output: plain, prefix (each line with its slot), json; auto: prefix on a terminal")
	_ = cmd.RegisterFlagCompletionFunc("policy", cobra.FixedCompletions(policyNames(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("on-hang", cobra.FixedCompletions(config.OnHang(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("log", cobra.FixedCompletions([]string{"auto", "plain", "prefix", "json"}, cobra.ShellCompDirectiveNoFileComp))
}

// settings finds out what the flags mean.
func (f runFlags) settings(command []string) (config.Meaning, error) {
	f.Command = command
	if f.name == "" {
		f.name = nameOf(command[0])
	}
	m, faults := f.Read(f.name)
	if len(faults) == 0 {
		return m, nil
	}
	switch fault := faults[0]; fault.Key {
	case "name", "log", "policy":
		return m, fault.Err
	case "workers":
		return m, fmt.Errorf("-n %w", fault.Err)
	case "ports":
		return m, fmt.Errorf("--port %w", fault.Err)
	default:
		return m, fmt.Errorf("--%s %w", fault.Key, fault.Err)
	}
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
