package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/bench/contender"
)

// An env is what one case runs in: it remembers what it started.
type env struct {
	*lab
	say    func(format string, args ...any)
	kept   map[kept]*contender.Fleet
	fleets []*contender.Fleet
}

// kept names a fleet that later rounds get again.
type kept struct {
	contender string
	workers   int
	serial    bool
}

func (l *lab) env(say func(format string, args ...any)) *env {
	return &env{lab: l, say: say, kept: make(map[kept]*contender.Fleet)}
}

// Fleet implements workload.Env. One of which a process has ended is started anew.
func (e *env) Fleet(ctx context.Context, c *contender.Contender, s contender.Setup) (*contender.Fleet, error) {
	key := kept{c.Name, s.Workers, s.Serial}
	if f := e.kept[key]; f != nil {
		if f.Alive() == nil {
			return f, nil
		}
		delete(e.kept, key)
		if err := f.Stop(); err != nil {
			return nil, err
		}
	}
	f, err := e.Fresh(ctx, c, s)
	if err == nil {
		e.kept[key] = f
	}
	return f, err
}

// Fresh implements workload.Env.
func (e *env) Fresh(ctx context.Context, c *contender.Contender, s contender.Setup) (*contender.Fleet, error) {
	f, err := e.start(ctx, c, s)
	if err == nil {
		e.fleets = append(e.fleets, f)
	}
	return f, err
}

// end stops whatever the case left running.
func (e *env) end() (err error) {
	for _, f := range e.fleets {
		err = errors.Join(err, f.Stop())
	}
	return err
}

// ClientCPU implements workload.Env.
func (e *env) ClientCPU() (time.Duration, error) {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return 0, err
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}

// Softirq implements workload.Env. The kernel counts in ticks of 10 ms.
func (e *env) Softirq() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	var user, nice, system, idle, wait, irq, softirq int64
	if _, err := fmt.Sscanf(line, "cpu %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &wait, &irq, &softirq); err != nil {
		return 0, fmt.Errorf("/proc/stat: %q: %w", line, err)
	}
	return time.Duration(softirq) * 10 * time.Millisecond, nil
}

// Sockdist implements workload.Env.
func (e *env) Sockdist(ctx context.Context, args ...string) (string, error) {
	var out, failed bytes.Buffer
	cmd := exec.CommandContext(ctx, e.programs.Sockdist, args...)
	cmd.Stdout, cmd.Stderr = &out, &failed
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("sockdist %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(failed.String()))
	}
	return out.String(), nil
}

// Say implements workload.Env.
func (e *env) Say(format string, args ...any) { e.say(format, args...) }
