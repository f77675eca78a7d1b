package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A fleet is workers under sockdist run.
type fleet struct {
	b       *bench
	name    string
	address string
	env     []string
	log     *os.File
	process *exec.Cmd
	ended   chan struct{}
}

// patience bounds every wait for a fleet.
const patience = 30 * time.Second

// startFleet starts workers that report as they are told. settings are further
// variables of their environment.
func (b *bench) startFleet(r reporter, workers int, settings ...string) (f *fleet, err error) {
	b.started++
	f = &fleet{b: b, name: fmt.Sprintf("reporting-%d-%d", os.Getpid(), b.started), ended: make(chan struct{})}
	if f.address, err = freeAddress(); err != nil {
		return nil, err
	}
	if f.log, err = os.Create(filepath.Join(b.folder, "log")); err != nil {
		return nil, err
	}
	f.env = append(os.Environ(), "SOCKDIST_RUNTIME_DIR="+filepath.Join(b.folder, "run"), "GOMAXPROCS=1",
		workerVariable+"="+r.variable, addressVariable+"="+f.address)
	f.env = append(f.env, settings...)
	f.process = exec.Command(b.sockdist, "--dir", b.pins, "run", "--name", f.name, "--log", "plain", "-n", fmt.Sprint(workers), "--", b.self)
	f.process.Env, f.process.Stdout, f.process.Stderr = f.env, f.log, f.log
	f.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := f.process.Start(); err != nil {
		return nil, errors.Join(err, f.log.Close())
	}
	go func() {
		_ = f.process.Wait()
		close(f.ended)
	}()
	if err := f.await(workers); err != nil {
		f.end()
		text, _ := os.ReadFile(f.log.Name())
		return nil, fmt.Errorf("%s: %w\n… %s", r.name, err, text[max(0, len(text)-1000):])
	}
	return f, nil
}

// await waits until so many workers are picked.
func (f *fleet) await(workers int) error {
	live := 0
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		select {
		case <-f.ended:
			return errors.New("sockdist run has ended")
		default:
		}
		live = 0
		for _, g := range f.groups() {
			for _, s := range g.Slots {
				if s.State == "live" {
					live++
				}
			}
		}
		if live == workers {
			return nil
		}
	}
	return fmt.Errorf("%d of %d workers are picked after %v", live, workers, patience)
}

type groupStatus struct {
	Name, App string
	Slots     []struct{ State string }
}

func (f *fleet) groups() (own []groupStatus) {
	output, err := f.verb("status", "--json").Output()
	if err != nil {
		return nil
	}
	var status struct{ Groups []groupStatus }
	if json.Unmarshal(output, &status) != nil {
		return nil
	}
	for _, g := range status.Groups {
		if g.App == f.name {
			own = append(own, g)
		}
	}
	return own
}

func (f *fleet) verb(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(f.b.ctx, f.b.sockdist, append([]string{"--dir", f.b.pins}, args...)...)
	cmd.Env = f.env
	return cmd
}

func (f *fleet) scale(workers int) error {
	if output, err := f.verb("scale", f.name, fmt.Sprint(workers)).CombinedOutput(); err != nil {
		return fmt.Errorf("scale: %w: %s", err, output)
	}
	return nil
}

// end is in order, and then not.
func (f *fleet) end() {
	defer f.log.Close()
	_ = f.process.Process.Signal(unix.SIGTERM)
	for range 3 { // a second signal hurries
		select {
		case <-f.ended:
			return
		case <-time.After(5 * time.Second):
			_ = f.process.Process.Signal(unix.SIGTERM)
		}
	}
	_ = f.process.Process.Kill()
	<-f.ended
}

// freeAddress has a port outside of what the kernel gives to clients.
func freeAddress() (string, error) {
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000))
		if l, err := net.Listen("tcp4", address); err == nil {
			return address, l.Close()
		}
	}
	return "", errors.New("no port from 10000 to 30000 is free")
}
