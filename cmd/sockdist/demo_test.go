package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/demo"
	"golang.org/x/sys/unix"
)

// A running demo is a process of its own.
type runningDemo struct {
	t   *testing.T
	cmd *exec.Cmd
	out strings.Builder
	end chan error
}

func startDemo(t *testing.T, args ...string) *runningDemo {
	t.Helper()
	privilege.Require(t)
	d := &runningDemo{t: t, end: make(chan error, 1)}
	d.cmd = exec.Command("/proc/self/exe", append([]string{"demo"}, args...)...)
	d.cmd.Env = append(os.Environ(), asSockdist+"=1", "GORACE="+noSleep)
	d.cmd.Stdout, d.cmd.Stderr = &d.out, os.Stderr
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.cmd.Process.Kill() })
	go func() { d.end <- d.cmd.Wait() }()
	return d
}

// output is what it printed, when it has ended well.
func (d *runningDemo) output() string {
	d.t.Helper()
	if err := <-d.end; err != nil {
		d.t.Fatalf("demo: %v\n%s", err, d.out.String())
	}
	return d.out.String()
}

// pins are the demo's own.
func (d *runningDemo) pins() []string {
	d.t.Helper()
	machine, err := loader.Open(loader.Options{})
	if err != nil {
		d.t.Fatal(err)
	}
	mount := filepath.Dir(filepath.Dir(machine.Dir()))
	found, _ := filepath.Glob(filepath.Join(mount, fmt.Sprintf("sockdist-demo-%d-*", d.cmd.Process.Pid)))
	return found
}

// workers are the processes that it started.
func (d *runningDemo) workers() (pids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", d.cmd.Process.Pid))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for _, field := range strings.Fields(string(text)) {
			var pid int
			if _, err := fmt.Sscan(field, &pid); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

func soon(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

func gone(pids []int) func() bool {
	return func() bool {
		for _, pid := range pids {
			if unix.Kill(pid, 0) == nil {
				return false
			}
		}
		return true
	}
}

func TestDemo(t *testing.T) {
	t.Parallel()
	d := startDemo(t, "--duration=2s", "--workers=3")
	soon(t, "workers", func() bool { return len(d.workers()) == 3 })
	workers := d.workers()
	out := d.output()
	for _, want := range []string{"kernel's hash", "sockdist, least", "p99", "worker 2", "p99 is"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Errorf("escape sequences without a terminal:\n%q", out)
	}
	if !gone(workers)() || len(d.pins()) > 0 {
		t.Errorf("left: some of the processes %v, pins %v", workers, d.pins())
	}
}

// Several at once don't know of each other, and each answers for every connection.
func TestDemosAtOnce(t *testing.T) {
	t.Parallel()
	for range 2 {
		d := startDemo(t, "--duration=2s", "--workers=2", "--json")
		t.Cleanup(func() {
			var result struct {
				demo.Result
				Verdict string
			}
			if err := json.Unmarshal([]byte(d.output()), &result); err != nil {
				t.Fatal(err)
			}
			for name, side := range map[string]demo.Side{"hash": result.Hash, "least": result.Least} {
				if side.Sent == 0 || side.Answered != side.Sent || side.Failed != 0 {
					t.Errorf("%s: %+v", name, side)
				}
			}
			if result.Verdict == "" || result.Hash.Sent != result.Least.Sent {
				t.Errorf("%+v", result)
			}
		})
	}
}

func TestDemoInterrupted(t *testing.T) {
	t.Parallel()
	d := startDemo(t, "--duration=10m")
	soon(t, "workers", func() bool { return len(d.workers()) == 4 })
	workers := d.workers()
	if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if out := d.output(); !strings.Contains(out, "answered") {
		t.Errorf("no table:\n%s", out)
	}
	if !gone(workers)() || len(d.pins()) > 0 {
		t.Errorf("left: some of the processes %v, pins %v", workers, d.pins())
	}
}

// A killed demo takes its workers along, and the next one its pins.
func TestDemoKilled(t *testing.T) {
	t.Parallel()
	d := startDemo(t, "--duration=10m", "--workers=5")
	soon(t, "workers", func() bool { return len(d.workers()) == 5 })
	workers := d.workers()
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-d.end
	soon(t, "end of the workers", gone(workers))
	startDemo(t, "--duration=1s").output()
	if left := d.pins(); len(left) > 0 {
		t.Errorf("pins left: %v", left)
	}
}

func TestDemoRefused(t *testing.T) {
	if a := asNobody(t, "", "demo"); a.code != exitUnsupported || !strings.Contains(a.err, "run as root") {
		t.Errorf("as nobody: %+v", a)
	}
	for _, args := range [][]string{{"--duration=999ms"}, {"--duration=601s"}, {"--workers=1"}, {"--workers=33"}, {"more"}} {
		if a := sockdist(t, "", append([]string{"demo"}, args...)...); a.code != exitUsage {
			t.Errorf("%q: %+v", args, a)
		}
	}
}
