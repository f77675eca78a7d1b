package main

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

//go:embed testdata/cluster.js
var clusterProgram []byte

// nodeCluster is Node's own cluster module: a master accepts, and passes each
// connection to a worker. It starts workers again 100 ms after they die.
var nodeCluster = contender{"node cluster", func(b *bench, workers int) (fleet, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	folder, env, err := b.newRecords()
	if err != nil {
		return nil, err
	}
	script := filepath.Join(b.folder, "cluster.js")
	if err := os.WriteFile(script, clusterProgram, 0o644); err != nil {
		return nil, err
	}
	log, err := b.outputFile("cluster.log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	f := &clusterFleet{log: log.Name(), number: port, folder: folder, ended: make(chan struct{})}
	f.master = exec.Command(b.node[0], script, b.node[1], fmt.Sprint(port), fmt.Sprint(workers))
	f.master.Env = env
	f.master.Stderr = log
	f.master.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := f.master.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = f.master.Wait()
		close(f.ended)
	}()
	if err := awaitWorkers(f, workers, 0); err != nil {
		f.end()
		return nil, err
	}
	return f, nil
}}

type clusterFleet struct {
	number int
	folder string
	log    string
	master *exec.Cmd
	ended  chan struct{}
}

func (f *clusterFleet) port() int       { return f.number }
func (f *clusterFleet) records() string { return f.folder }

// pids are the children that have begun to keep records, which they do shortly
// before they listen.
func (f *clusterFleet) pids() (pids []int, err error) {
	select {
	case <-f.ended:
		text, _ := os.ReadFile(f.log)
		return nil, fmt.Errorf("the master: %w: %s", errFleetEnded, strings.Join(strings.Fields(string(text)), " "))
	default:
	}
	pid := f.master.Process.Pid
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil, err
	}
	for _, field := range strings.Fields(string(text)) {
		if files, _ := filepath.Glob(filepath.Join(f.folder, field+".*")); len(files) > 0 {
			pid, err := strconv.Atoi(field)
			if err != nil {
				return nil, err
			}
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func (f *clusterFleet) end() {
	for {
		_ = unix.Kill(-f.master.Process.Pid, unix.SIGKILL)
		select {
		case <-f.ended:
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}
