package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// app is a fleet under sockdist run.
type app struct {
	b       *bench
	name    string
	number  int
	folder  string
	env     []string
	args    []string
	log     *os.File
	process *exec.Cmd
	ended   chan struct{}
}

// underSockdist is a contender with these flags of sockdist run, on Go.
func underSockdist(name string, flags ...string) contender {
	return contender{name, func(b *bench, workers int) (fleet, error) { return startApp(b, b.server, workers, flags...) }}
}

// startApp starts workers of a server, whose command lacks its port.
func startApp(b *bench, server []string, workers int, flags ...string) (*app, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	folder, env, err := b.newRecords()
	if err != nil {
		return nil, err
	}
	b.started++
	// The state of this run's apps is nobody else's business.
	env = append(env, "SOCKDIST_RUNTIME_DIR="+filepath.Join(b.folder, "run"))
	a := &app{b: b, name: fmt.Sprintf("reliability-%d-%d", os.Getpid(), b.started), number: port, folder: folder, env: env}
	if a.log, err = b.outputFile(a.name + ".log"); err != nil {
		return nil, err
	}
	a.args = append([]string{"--dir", b.pins, "run", "--name", a.name, "--log", "plain", "-n", fmt.Sprint(workers)}, flags...)
	a.args = append(append(a.args, "--"), append(slices.Clone(server), fmt.Sprint(port))...)
	if err := a.launch(); err != nil {
		return nil, err
	}
	if err := awaitWorkers(a, workers, 0); err != nil {
		text, _ := os.ReadFile(a.log.Name())
		a.end()
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(flags, " "), err, text)
	}
	return a, nil
}

// launch starts sockdist run, for the first time or again.
func (a *app) launch() error {
	a.process = exec.Command(a.b.sockdist, a.args...)
	a.process.Env = a.env
	a.process.Stdout, a.process.Stderr = a.log, a.log
	a.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := a.process.Start(); err != nil {
		return err
	}
	process, ended := a.process, make(chan struct{})
	a.ended = ended
	go func() {
		_ = process.Wait()
		close(ended)
	}()
	return nil
}

func (a *app) port() int       { return a.number }
func (a *app) records() string { return a.folder }

// pids are the processes of live slots.
func (a *app) pids() (pids []int, err error) {
	slots, err := a.slots()
	for _, s := range slots {
		if s.State == "live" {
			pids = append(pids, s.PID)
		}
	}
	return pids, err
}

type slot struct {
	PID         int
	State       string
	Connections int
}

func (a *app) slots() (slots []slot, err error) {
	cmd := exec.CommandContext(a.b.ctx, a.b.sockdist, "--dir", a.b.pins, "status", "--json")
	cmd.Env = a.env
	output, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("sockdist status: %w", err)
	}
	var status struct {
		Groups []struct {
			App   string
			Slots []slot
		}
	}
	if err := json.Unmarshal(output, &status); err != nil {
		return nil, fmt.Errorf("sockdist status: %w", err)
	}
	for _, g := range status.Groups {
		if g.App == a.name {
			slots = append(slots, g.Slots...)
		}
	}
	return slots, nil
}

// verb runs a verb of sockdist on the app, which must be done within a minute.
func (a *app) verb(args ...string) error {
	ctx, cancel := context.WithTimeout(a.b.ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, a.b.sockdist, append([]string{"--dir", a.b.pins}, args...)...)
	cmd.Env = a.env
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("sockdist %s: %w: %s", strings.Join(args, " "), err, output)
	}
	return nil
}

// kill is a kill -9 of sockdist itself.
func (a *app) kill() {
	_ = a.process.Process.Kill()
	<-a.ended
}

// end is in order first, then not.
func (a *app) end() {
	defer a.log.Close()
	for range 4 {
		if err := a.process.Process.Signal(unix.SIGTERM); errors.Is(err, os.ErrProcessDone) {
			return
		}
		select {
		case <-a.ended:
			return
		case <-time.After(3 * time.Second):
		}
	}
	a.kill()
	folders, _ := filepath.Glob("/sys/fs/cgroup/sockdist/" + a.name)
	unified, _ := filepath.Glob("/sys/fs/cgroup/unified/sockdist/" + a.name)
	for _, folder := range append(folders, unified...) {
		_ = os.WriteFile(filepath.Join(folder, "cgroup.kill"), []byte("1"), 0)
	}
}
