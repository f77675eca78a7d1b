package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cleanUp ends the app if the test didn't, and looks that nothing is left.
func (a *app) cleanUp() {
	a.t.Helper()
	a.end()
	if !a.isAgain {
		a.expectNothingLeft()
	}
	if strings.Contains(read(a.log), "DATA RACE") {
		a.t.Error("it has a data race")
	}
	if a.t.Failed() {
		a.t.Logf("%s said:\n%s\nits workers printed:\n%s", a.name, read(a.log), read(a.output))
	}
}

func (a *app) end() {
	a.t.Helper()
	// One signal is for an end in order, the second one for not waiting for
	// connections, the third one kills the workers.
	for range 5 {
		a.signal(unix.SIGTERM)
		select {
		case <-a.ended:
			return
		case <-time.After(5 * time.Second):
		}
	}
	a.t.Error("it doesn't end")
	a.kill()
	a.killWorkers()
}

// expectNothingLeft gives the kernel its time: zombies, cgroups.
func (a *app) expectNothingLeft() {
	a.t.Helper()
	left := a.left()
	for deadline := time.Now().Add(patience); len(left) > 0 && time.Now().Before(deadline); left = a.left() {
		time.Sleep(20 * time.Millisecond)
	}
	for _, what := range left {
		a.t.Errorf("left: %s", what)
	}
	if len(left) > 0 {
		a.sweep()
	}
}

// left lists what there still is of the app.
func (a *app) left() (left []string) {
	for _, pid := range a.processes() {
		command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		left = append(left, fmt.Sprintf("process %d: %s", pid, bytes.ReplaceAll(command, []byte{0}, []byte{' '})))
	}
	paths := []string{a.cgroup(), filepath.Join(a.runtime, a.name), a.pins}
	if a.isBeside {
		paths = append(paths[:2], append(a.glob("v*/apps/"+a.name), a.glob("v*/groups/"+a.name+"-*")...)...)
	}
	for _, path := range paths {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			left = append(left, path)
		}
	}
	return left
}

// glob looks into the pin folder.
func (a *app) glob(pattern string) []string {
	found, _ := filepath.Glob(filepath.Join(a.pins, pattern))
	return found
}

// processes are all that live and were started by the app, sockdist included.
func (a *app) processes() (pids []int) {
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	mark := []byte(marker + "=" + a.name)
	for _, environ := range environs {
		text, err := os.ReadFile(environ)
		if err != nil {
			continue
		}
		for variable := range bytes.SplitSeq(text, []byte{0}) {
			if bytes.Equal(variable, mark) {
				pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(environ)))
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// sweep removes what is left, so that one failed test is no burden to others.
func (a *app) sweep() {
	for _, pid := range a.processes() {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	a.killWorkers()
	leaves, _ := filepath.Glob(filepath.Join(a.cgroup(), "*"))
	for _, path := range append(leaves, a.cgroup()) {
		_ = unix.Rmdir(path)
	}
	_ = os.RemoveAll(a.pins)
	_ = os.RemoveAll(filepath.Join(a.runtime, a.name))
}

func (a *app) cgroup() string { return filepath.Join(a.cgroups, a.name) }

// killWorkers kills everything in the app's cgroup, and waits for its end.
func (a *app) killWorkers() {
	a.t.Helper()
	err := os.WriteFile(filepath.Join(a.cgroup(), "cgroup.kill"), []byte("1"), 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.t.Errorf("kill the workers: %v", err)
	}
	until(a.t, "the workers are dead", func() bool { return len(a.workers()) == 0 })
}

// workers are the processes in the app's cgroup, by the leaf they are in.
func (a *app) workers() map[string][]int {
	files, _ := filepath.Glob(filepath.Join(a.cgroup(), "*", "cgroup.procs"))
	workers := make(map[string][]int)
	for _, file := range files {
		text, _ := os.ReadFile(file)
		slot := filepath.Base(filepath.Dir(file))
		for _, field := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil {
				workers[slot] = append(workers[slot], pid)
			}
		}
	}
	return workers
}
