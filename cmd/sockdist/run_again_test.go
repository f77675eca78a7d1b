package main_test

import (
	"os/exec"
	"slices"
	"syscall"
)

// startAgain starts sockdist with the same command line, as a service manager
// does after its death. More flags can be added, of which the last one counts.
func (a *app) startAgain(more ...string) *app {
	a.t.Helper()
	next := &app{t: a.t, name: a.name, pins: a.pins, runtime: a.runtime, isAgain: true, programs: a.programs, ended: make(chan struct{})}
	args := slices.Clone(a.cmd.Args)
	args = slices.Insert(args, slices.Index(args, "--"), more...)
	next.cmd = exec.Command(args[0], args[1:]...)
	next.cmd.Env = a.cmd.Env
	next.output, next.log = outputFile(a.t), outputFile(a.t)
	next.cmd.Stdout, next.cmd.Stderr = next.output, next.log
	next.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	next.fork(nil)
	return next
}
