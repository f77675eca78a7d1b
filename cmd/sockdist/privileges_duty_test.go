package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/capabilities"
	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/internal/servers"

	sockdist "github.com/sockdist/sockdist/cmd/sockdist"
)

// threadsHave waits until every thread of a process has what is wanted: they
// give up the rest one after the other.
func threadsHave(t *testing.T, pid int, want capabilities.Set, nnp bool) {
	t.Helper()
	privileges := "0"
	if nnp {
		privileges = "1"
	}
	lines := map[string]string{
		"CapEff": fmt.Sprintf("%016x", uint64(want)), "CapPrm": fmt.Sprintf("%016x", uint64(want)), "NoNewPrivs": privileges,
	}
	var wrong []string
	defer func() {
		if len(wrong) > 0 {
			t.Logf("process %d should have %v:\n%s", pid, want, strings.Join(wrong, "\n"))
		}
	}()
	until(t, fmt.Sprintf("every thread of process %d has what is wanted", pid), func() bool {
		wrong = threadsWithout(pid, lines)
		return len(wrong) == 0
	})
}

// threadsWithout says which threads of a process have other lines in their status.
func threadsWithout(pid int, lines map[string]string) (wrong []string) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if len(tasks) < 2 {
		wrong = append(wrong, fmt.Sprintf("it has %d threads", len(tasks)))
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue // a thread may end
		}
		for name, want := range lines {
			if !strings.Contains(string(text), "\n"+name+":\t"+want+"\n") {
				_, got, _ := strings.Cut(string(text), "\n"+name+":")
				got, _, _ = strings.Cut(got, "\n")
				wrong = append(wrong, fmt.Sprintf("%s: %s is %s, want %s", task, name, strings.TrimSpace(got), want))
			}
		}
	}
	return wrong
}

// whole is what root has.
func whole(t *testing.T) capabilities.Set {
	t.Helper()
	own, err := capabilities.Read()
	if err != nil {
		t.Fatal(err)
	}
	return own.Bounding
}

// run with --user gives up all that it needs no longer, in every thread, and
// goes on to do all it has to: start workers again, reload, scale, end.
func TestRunGivesUpWhatItDoesNotNeed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all := whole(t)
	a := w.startApp(actor{has: all}, "--user", "nobody:nogroup")
	if !a.serves() {
		t.Fatalf("it doesn't serve:\n%s", read(a.log))
	}
	duty := capabilities.Duty{Users: true, Closed: rootIsClosed(t, w)}
	threadsHave(t, a.cmd.Process.Pid, duty.Needs(capabilities.Own{Permitted: all}, 0), false)

	w.root("reload", w.name)
	w.root("scale", w.name, "3")
	w.root("scale", w.name, "2")
	for _, pid := range w.processes() {
		if pid != a.cmd.Process.Pid && status(t, pid, "Uid") != status(t, os.Getpid(), "Uid") {
			if got := status(t, pid, "CapEff"); strings.Trim(got, "\t0") != "" {
				t.Errorf("worker %d has capabilities %s", pid, got)
			}
		}
	}
	if !w.answers() {
		t.Error("no worker answers after a reload and two scales")
	}
	if o := a.end(true); !o.fine {
		t.Errorf("exit code %d, said\n%s", o.code, o.said)
	}
}

// rootIsClosed tells whether the root of cgroup v2 is closed even to root, as
// where nobody but the kernel set its mode: then the right to it is kept.
func rootIsClosed(t *testing.T, w *world) bool {
	t.Helper()
	root, err := os.Stat(filepath.Dir(w.cgroups))
	if err != nil {
		t.Fatal(err)
	}
	return root.Mode().Perm()&0o300 != 0o300
}

// Workers of root's are to have all that root has, core dumps too.
func TestRunKeepsWhatWorkersOfRootsHave(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.startApp(actor{has: whole(t)})
	if !a.serves() {
		t.Fatalf("it doesn't serve:\n%s", read(a.log))
	}
	threadsHave(t, a.cmd.Process.Pid, whole(t), false)
	if o := a.end(true); !o.fine {
		t.Errorf("exit code %d, said\n%s", o.code, o.said)
	}
}

// Workers of a user who isn't root inherit nothing of what sockdist was given,
// but what it was given for them.
func TestWorkersInheritNoCapabilities(t *testing.T) {
	t.Parallel()
	for name, given := range map[string]capabilities.Set{"nothing": 0, "low ports": capabilities.Of(capabilities.NetBindService)} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			needs := capabilities.Duty{Same: true, Closed: true}.Needs(capabilities.Own{}, nobody)
			a := w.startApp(actor{uid: nobody, has: needs | given})
			if !a.serves() {
				t.Fatalf("it doesn't serve:\n%s", read(a.log))
			}
			threadsHave(t, a.cmd.Process.Pid, needs|given, false)
			workers := 0
			procs, _ := filepath.Glob(filepath.Join(w.cgroups, w.name, "*", "cgroup.procs"))
			for _, list := range procs {
				for _, pid := range pidsIn(t, list) {
					workers++
					if got, want := strings.TrimSpace(status(t, pid, "CapPrm")), fmt.Sprintf("%016x", uint64(given)); got != want {
						t.Errorf("worker %d has capabilities %s, want %s", pid, got, want)
					}
				}
			}
			if workers != 2 {
				t.Errorf("%d workers", workers)
			}
			if o := a.end(w.answers()); !o.fine {
				t.Errorf("exit code %d, said\n%s", o.code, o.said)
			}
		})
	}
}

// attach --watch starts nothing, so it keeps little, and wants no new privileges.
func TestWatchGivesUpWhatItDoesNotNeed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.server(nobody)
	a := w.startCommand(w.command(actor{has: whole(t)}, "attach", "--watch", w.address()))
	duty := capabilities.Duty{Attached: true}
	threadsHave(t, a.cmd.Process.Pid, duty.Needs(capabilities.Own{}, 0), true)

	// It goes on to follow the server.
	extra := w.dress(exec.Command(privilege.Tool(t, "sleep"), "infinity"))
	file := w.listener()
	extra.ExtraFiles = []*os.File{file}
	if err := extra.Start(); err != nil {
		t.Fatal(err)
	}
	file.Close()
	t.Cleanup(func() {
		_ = extra.Process.Kill()
		_ = extra.Wait()
	})
	until(t, "the new listener has a slot", func() bool { return strings.Contains(read(a.log), fmt.Sprint("slot=2 pid=", extra.Process.Pid)) })
	_ = a.cmd.Process.Signal(unix.SIGTERM)
	<-a.ended
	if a.complains() {
		t.Errorf("it said\n%s", read(a.log))
	}
	detach(w)
}

// When bpffs is unmounted below a supervisor that gave up the right to mount
// it, it says so, and connections are served all the same.
func TestUnmountedBelowAppWithoutTheRight(t *testing.T) {
	t.Parallel()
	m := newMounts(t)
	w := newWorld(t)
	cmd := w.command(actor{has: whole(t)}, "run", "--name", w.name, "-n", "2", "--grace", "5s", "--log", "plain", "--user", "nobody:nogroup",
		"--", w.worker, "-listen", w.address())
	enter := m.enter()
	a := w.startCommand(w.dress(exec.Command(enter[0], append(enter[1:], cmd.Args...)...)))
	if !a.serves() {
		t.Fatalf("it doesn't serve:\n%s", read(a.log))
	}
	m.run("umount", m.bpffs)
	m.run("umount", m.bpffs)
	until(t, "it says that the kernel side is lost", func() bool {
		return strings.Contains(read(a.log), "the kernel side was lost and can't be made anew, so connections are served but not counted")
	})
	for range 20 {
		if !w.answers() {
			t.Fatal("no worker answers")
		}
	}
	o := a.end(true)
	if strings.Count(o.said, "can't be made anew") != 1 {
		t.Errorf("it said\n%s", o.said)
	}
}

// pidsIn reads a cgroup.procs.
func pidsIn(t *testing.T, list string) (pids []int) {
	t.Helper()
	text, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// A worker that binds a port below 1024 needs the right to that itself; sockdist
// hands on what it has, and needs no more than for any other port.
func TestPortsBelow1024(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.port = servers.FreeLowPort(t)
	needs := capabilities.Of(sockdist.Needs("run")...)
	if o := w.app(actor{has: needs | capabilities.Of(capabilities.NetBindService)}); !o.fine {
		t.Errorf("with the right: exit code %d, said\n%s", o.code, o.said)
	}
	if o := w.app(actor{has: needs}); o.fine || !strings.Contains(o.said, "bind: permission denied") {
		t.Errorf("without the right: exit code %d, said\n%s", o.code, o.said)
	}
}

// With exactly what run needs doctor finds nothing that must be changed, and
// without each of these it says which.
func TestDoctorGoesByTheTable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	needs := sockdist.Needs("run")
	all := capabilities.Of(needs...)
	var out strings.Builder
	doctor := func(has capabilities.Set) outcome {
		out.Reset()
		cmd := w.command(actor{has: has}, "doctor")
		cmd.Stdout = &out
		return w.finish(cmd)
	}
	if o := doctor(all); !o.fine {
		t.Errorf("with %v: exit code %d, said %s\n%s", all, o.code, o.said, out.String())
	}
	for _, c := range needs {
		o := doctor(all &^ capabilities.Of(c))
		if o.code != 3 || !strings.Contains(out.String(), fmt.Sprintf("%v is missing", c)) {
			t.Errorf("without %v: exit code %d, said %s\n%s", c, o.code, o.said, out.String())
		}
	}
}

// --memory-max takes no right, but the memory controller of cgroup v2.
func TestMemoryMaxTakesNoRight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	controllers, err := os.ReadFile(filepath.Join(filepath.Dir(w.cgroups), "cgroup.controllers"))
	if err != nil || !slices.Contains(strings.Fields(string(controllers)), "memory") {
		t.Skipf("cgroup v2 has no memory controller here: %s%v", controllers, err)
	}
	if o := w.app(actor{has: capabilities.Of(sockdist.Needs("run")...)}, "--memory-max", "200M"); !o.fine {
		t.Errorf("exit code %d, said\n%s", o.code, o.said)
	}
}

// status works without any right, and says what it can't tell.
func TestStatusWithoutRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	away(w)
	w.server(nobody)
	w.root("attach", "--netns", w.in.Path(), w.address())
	inside := w.dress(exec.Command(privilege.Tool(t, "sleep"), "infinity")) // by whom the namespace is found
	if err := w.in.Do(inside.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = inside.Process.Kill()
		_ = inside.Wait()
	})
	here := newWorld(t)
	here.pins = w.pins
	here.server(nobody)
	here.root("attach", here.address())
	status := func(has ...capabilities.Capability) string {
		cmd := w.command(actor{has: capabilities.Of(has...)}, "status")
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("with %v: %v", has, err)
		}
		return string(out)
	}
	const blind, unreachable = "can't tell whether it steers", "its network namespace is out of reach"
	if text := status(); !strings.Contains(text, blind) || !strings.Contains(text, unreachable) {
		t.Errorf("without any right it says\n%s", text)
	}
	if text := status(capabilities.BPF, capabilities.PerfMon); strings.Contains(text, blind) {
		t.Errorf("with the right to see who steers it says\n%s", text)
	}
	if text := status(capabilities.SysAdmin, capabilities.SysPtrace); strings.Contains(text, blind) || strings.Contains(text, unreachable) {
		t.Errorf("with the right to enter namespaces it says\n%s", text)
	}
	detach(here)
}

// What is given up isn't missed later: not when pins are lost, and not when a
// worker hangs, whose queue is rescued.
func TestFewRightsAreEnoughForTrouble(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.startApp(actor{has: whole(t)}, "--user", "nobody:nogroup", "--hang-after", "300ms", "--hang-grace", "1m")
	if !a.serves() {
		t.Fatalf("it doesn't serve:\n%s", read(a.log))
	}
	if err := os.RemoveAll(filepath.Join(w.pins, "v2")); err != nil {
		t.Fatal(err)
	}
	until(t, "the kernel side is made anew", func() bool { return strings.Contains(read(a.log), "it is made anew") })
	until(t, "both workers are steered again", func() bool { return strings.Count(w.root("status", w.name), " live ") >= 2 })

	hung := 0
	for _, pid := range w.processes() {
		if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); string(comm) == "worker\n" {
			hung = pid
		}
	}
	if hung == 0 {
		t.Fatal("no worker runs") // and 0 would be the test's own process group
	}
	if err := unix.Kill(hung, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ejected := func() bool { return strings.Contains(w.root("status", w.name), " ejected ") }
	until(t, "the worker that hangs is ejected, and its queue served", func() bool { return w.answers() && ejected() })
	if err := unix.Kill(hung, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	until(t, "it is readmitted", func() bool { return !ejected() })
	_ = a.cmd.Process.Signal(unix.SIGTERM)
	o := a.end(true)
	if o.code != 0 || strings.Contains(o.said, "not permitted") || strings.Contains(o.said, "denied") {
		t.Errorf("exit code %d, said\n%s", o.code, o.said)
	}
}
