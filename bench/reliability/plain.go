package main

import (
	"fmt"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// plain is SO_REUSEPORT and nothing else: servers that share a port by
// themselves, and are started again 100 ms after they die, as by sockdist.
var plain = contender{"plain SO_REUSEPORT", func(b *bench, workers int) (fleet, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	folder, env, err := b.newRecords()
	if err != nil {
		return nil, err
	}
	f := &plainFleet{number: port, folder: folder, env: env, command: b.server, living: make(map[int]bool)}
	for range workers {
		f.running.Go(f.keepOne)
	}
	if err := awaitWorkers(f, workers, 0); err != nil {
		f.end()
		return nil, err
	}
	time.Sleep(200 * time.Millisecond) // living isn't listening yet
	return f, nil
}}

type plainFleet struct {
	number  int
	folder  string
	env     []string
	command []string
	running sync.WaitGroup

	mu     sync.Mutex
	living map[int]bool
	over   bool
}

// keepOne keeps one worker running.
func (f *plainFleet) keepOne() {
	for {
		cmd := exec.Command(f.command[0], "-reuseport", fmt.Sprint(f.number))
		cmd.Env = f.env
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		f.mu.Lock()
		if f.over || cmd.Start() != nil {
			f.mu.Unlock()
			return
		}
		pid := cmd.Process.Pid
		f.living[pid] = true
		f.mu.Unlock()
		_ = cmd.Wait()
		f.mu.Lock()
		delete(f.living, pid)
		f.mu.Unlock()
		time.Sleep(100 * time.Millisecond)
	}
}

func (f *plainFleet) port() int       { return f.number }
func (f *plainFleet) records() string { return f.folder }

func (f *plainFleet) pids() (pids []int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for pid := range f.living {
		pids = append(pids, pid)
	}
	return pids, nil
}

func (f *plainFleet) end() {
	f.mu.Lock()
	f.over = true
	for pid := range f.living {
		_ = unix.Kill(pid, unix.SIGKILL) // also ends one that is stopped
	}
	f.mu.Unlock()
	f.running.Wait()
}
