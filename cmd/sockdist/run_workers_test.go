package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/internal/servers"
)

func TestRunEnvironment(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	const shown = "-env=SOCKDIST_SLOT,SOCKDIST_WORKERS,GOMAXPROCS,GODEBUG,COLOUR,HOME"
	for _, c := range []struct {
		name  string
		flags []string
		env   []string
		want  []string
	}{
		{"defaults", nil, nil, []string{
			"SOCKDIST_SLOT=0", "SOCKDIST_SLOT=1", "SOCKDIST_WORKERS=2", "GOMAXPROCS=1", "GODEBUG=multipathtcp=0", "COLOUR="}},
		{"inherited", nil, []string{"GOMAXPROCS=3", "GODEBUG=http2client=0", "COLOUR=blue"}, []string{
			"GOMAXPROCS=3", "GODEBUG=http2client=0,multipathtcp=0", "COLOUR=blue"}},
		{"--env", []string{"--env", "GOMAXPROCS=2", "--env", "COLOUR=a b=c", "--env", "SOCKDIST_WORKERS=7"}, []string{"COLOUR=blue"}, []string{
			"GOMAXPROCS=2", "COLOUR=a b=c", "SOCKDIST_WORKERS=7"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := setup{flags: append([]string{"-n", "2"}, c.flags...), env: append([]string{"GOMAXPROCS=", "GODEBUG="}, c.env...)}
			if c.name == "defaults" {
				s.under = []string{"env", "-u", "GOMAXPROCS", "-u", "GODEBUG"}
			}
			a := s.start(t, "worker", shown)
			for _, line := range c.want {
				a.prints(line + "\n")
			}
		})
	}
}

// A Go server which insists on MPTCP gets no slot, and it is said why.
func TestRunMultipath(t *testing.T) {
	t.Parallel()
	if text, err := os.ReadFile("/proc/sys/net/mptcp/enabled"); err != nil || strings.TrimSpace(string(text)) != "1" {
		t.Skip("this kernel has no MPTCP")
	}
	a := flags("-n 1 --env GODEBUG=multipathtcp=1").start(t, "worker", "-listen", fmt.Sprint(":", servers.FreePort(t, nil)))
	a.says("GODEBUG=multipathtcp=0")
}

func TestRunUser(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	port := servers.FreePort(t, nil)
	a := flags("-n 3 --user nobody").start(t, "worker", "-env=USER,HOME", "-listen", fmt.Sprint(":", port)).serves(port, 3)
	for slot := range 3 {
		pid := a.slot(port, slot).PID
		if ids := strings.Fields(status(t, pid, "Uid")); !slices.Equal(ids, []string{"65534", "65534", "65534", "65534"}) {
			t.Errorf("worker %d runs as users %v, want 65534", slot, ids)
		}
		if caps := status(t, pid, "CapEff"); strings.Trim(caps, "0") != "" {
			t.Errorf("worker %d has capabilities %s", slot, caps)
		}
	}
	a.prints("USER=nobody\n")
	held := clients.Hold(t, local(port), 60)
	a.expectEven(port, held)

	// A worker that comes back finds its place among them.
	before := a.slot(port, 1).PID
	killProcess(t, before)
	until(t, "the worker is back", func() bool { s := a.slot(port, 1); return s.PID != before && s.State.String() == "live" })
	a.expectLive(port, 3)
	theirs, others := of(before, held)
	again := clients.Hold(t, local(port), len(theirs))
	a.expectEven(port, append(others, again...))
}

// status is a line of /proc/PID/status.
func status(t testing.TB, pid int, name string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("no %s in the status of process %d", name, pid)
	return ""
}

// expectLive checks that n slots are live, and no other is there.
func (a *app) expectLive(port, n int) {
	a.t.Helper()
	slots := a.group(port).Slots
	for _, s := range slots {
		if s.State.String() != "live" {
			a.t.Errorf("slot %d is %s", s.Slot, s.State)
		}
	}
	if len(slots) != n {
		a.t.Errorf("%d slots, want %d", len(slots), n)
	}
}

func TestRunPin(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	port := servers.FreePort(t, nil)
	a := flags("-n 3 --pin").start(t, "worker", "-listen", fmt.Sprint(":", port)).serves(port, 3)
	cpus := ownCPUs(t)
	for slot := range 3 {
		want := strconv.Itoa(cpus[slot%len(cpus)])
		if got := status(t, a.slot(port, slot).PID, "Cpus_allowed_list"); got != want {
			t.Errorf("worker %d may run on CPUs %s, want %s", slot, got, want)
		}
	}
}

func ownCPUs(t testing.TB) (cpus []int) {
	t.Helper()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	for cpu := range len(set) * 64 {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus
}

func TestRunAuto(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	taskset, first := privilege.Tool(t, "taskset"), strconv.Itoa(ownCPUs(t)[0])
	for _, c := range []struct {
		under []string
		n     int
	}{
		{nil, runtime.NumCPU()},
		{[]string{taskset, "-c", first}, 1},
	} {
		port := servers.FreePort(t, nil)
		s := flags("-n auto")
		s.under = c.under
		a := s.start(t, "worker", "-listen", fmt.Sprint(":", port)).serves(port, c.n)
		a.expectLive(port, c.n)
	}
}

func TestRunOutput(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	for format, want := range map[string]struct{ output, log string }{
		"plain":  {"\nout 1", "\nerr 1"},
		"auto":   {"\nout 1", "\nerr 1"}, // no terminal
		"prefix": {"\n[1] out 1", "\n[1] err 1"},
		"json":   {`"slot":1,"stream":"stdout","line":"out 1"}`, ""},
	} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			port := servers.FreePort(t, nil)
			a := flags("-n 2 --log "+format).start(t, "worker", "-chatty", "-listen", fmt.Sprint(":", port)).serves(port, 2)
			a.prints(want.output + "\n")
			if want.log != "" {
				a.says(want.log + "\n")
			} else {
				a.prints(`"slot":1,"stream":"stderr","line":"err 1"}` + "\n")
			}
			clients.Hold(t, local(port), 50).Close()
			a.signal(unix.SIGTERM)
			a.exit()
			expectLines(t, format, read(a.output), 50)
		})
	}
}

// expectLines checks that the whole output is there, and each line whole.
func expectLines(t testing.TB, format, output string, requests int) {
	t.Helper()
	n := 0
	for line := range strings.Lines(output) {
		text := strings.TrimSuffix(line, "\n")
		switch format {
		case "prefix":
			if !strings.HasPrefix(text, "[0] ") && !strings.HasPrefix(text, "[1] ") {
				t.Errorf("no slot before %q", text)
			}
			text = text[min(4, len(text)):]
		case "json":
			var object struct {
				Time, Stream, Line string
				Slot               *int
			}
			if err := json.Unmarshal([]byte(text), &object); err != nil || object.Time == "" || object.Stream == "" || object.Slot == nil {
				t.Errorf("not as it should be: %q, %v", text, err)
			}
			text = object.Line
		}
		if strings.HasPrefix(text, "request from ") {
			n++
		}
	}
	if n != requests {
		t.Errorf("%d lines about requests, want %d", n, requests)
	}
}
