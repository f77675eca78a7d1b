package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/ledger"
	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// An app is workers under sockdist run.
type app struct {
	*service
	profile profile
	flags   []string
	command []string // of the workers
	runtime string   // folder, a file system of its own
	knobs   string   // file of what workers do wrong at their start
	logFile *os.File

	mu         sync.Mutex
	supervisor *supervisor // the present one
	kills      []killing   // ours
}

// A supervisor is one process of sockdist run.
type supervisor struct {
	process *exec.Cmd
	// left is set before it is to end.
	left  bool
	ended chan struct{}
}

func (a *app) own() *service { return a.service }

func (a *app) lanes() []lane { return appLanes }

// environment is that of the supervisor, and so of its workers.
func (a *app) environment() []string {
	return append([]string{
		ledger.FolderVariable + "=" + a.records, "SOCKDIST_RUNTIME_DIR=" + a.runtime, "LEDGER_KNOBS=" + a.knobs,
	}, a.profile.environment...)
}

// launch starts a supervisor: the first one, or another after its end.
func (a *app) launch(more ...string) error {
	args := append(append([]string{"run", "--name", a.name, "--log", "plain"}, a.flags...), more...)
	p := &supervisor{ended: make(chan struct{})}
	// Not with the context: it is ended in order.
	p.process = exec.Command(a.sockdist, append(append([]string{"--dir", a.pins}, args...), append([]string{"--"}, a.command...)...)...)
	p.process.Env = append(os.Environ(), a.environment()...)
	p.process.Stdout, p.process.Stderr = a.logFile, a.logFile
	p.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us
	if err := p.process.Start(); err != nil {
		return err
	}
	a.mu.Lock()
	a.supervisor = p
	a.mu.Unlock()
	go a.guard(p)
	return nil
}

// guard waits for a supervisor's end, which nobody may be surprised by.
func (a *app) guard(p *supervisor) {
	err := p.process.Wait()
	a.mu.Lock()
	surprise := !p.left
	a.mu.Unlock()
	if surprise {
		a.fail(ledger.Now(), a.name, fmt.Sprintf("the supervisor (pid %d) ended by itself: %v", p.process.Process.Pid, err))
	}
	close(p.ended)
}

func (a *app) present() *supervisor {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.supervisor
}

// leave says that the present supervisor is to end.
func (a *app) leave() *supervisor {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.supervisor.left = true
	return a.supervisor
}

func (p *supervisor) pid() int { return p.process.Process.Pid }

func (p *supervisor) isGone() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// killSupervisor is a kill -9 of sockdist itself.
func (a *app) killSupervisor() {
	p := a.leave()
	_ = p.process.Process.Kill()
	<-p.ended
	a.write(a.name, "kill -9 of the supervisor (pid %d)", p.pid())
}

// restart starts the supervisor again, and waits until it is in charge.
func (a *app) restart() error {
	if err := a.launch(); err != nil {
		return err
	}
	a.write(a.name, "the supervisor is started again (pid %d)", a.present().pid())
	return a.awaitCharge()
}

// chargeWithin bounds the start of a supervisor.
const chargeWithin = 30 * time.Second

// awaitCharge waits until the present supervisor looks after the workers.
func (a *app) awaitCharge() error {
	p := a.present()
	for deadline := time.Now().Add(a.slow(chargeWithin)); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if p.isGone() {
			return fmt.Errorf("the supervisor (pid %d) has ended", p.pid())
		}
		if a.takesRequests(p) {
			return nil
		}
	}
	return fmt.Errorf("the supervisor (pid %d) isn't in charge within %v", p.pid(), chargeWithin)
}

// takesRequests looks into what the supervisor writes down, or, where it can't
// write, for its socket.
func (a *app) takesRequests(p *supervisor) bool {
	state, err := control.ReadState(a.runtime, a.name)
	return err == nil && state.Supervisor == p.pid()
}

// find reads the app's own part of the status.
func (a *app) find() (appStatus, []group, error) {
	st, err := a.readStatus(a.environment())
	if err != nil {
		return appStatus{}, nil, err
	}
	var groups []group
	for _, g := range st.Groups {
		if g.App == a.name {
			groups = append(groups, g)
		}
	}
	for _, found := range st.Apps {
		if found.Name == a.name {
			return found, groups, nil
		}
	}
	return appStatus{}, groups, nil
}

// live are the workers that get connections, by slot.
func (a *app) live() ([]worker, error) {
	found, _, err := a.find()
	var live []worker
	for _, w := range found.Workers {
		if w.State == "live" && w.PID != 0 && (w.Stage == control.StageServing || w.Stage == "") {
			live = append(live, w)
		}
	}
	return live, err
}

// rest waits until all workers that are wanted serve, and no others are there.
func (a *app) rest() error {
	deadline := time.Now().Add(a.slow(restWithin))
	for {
		found, groups, err := a.find()
		if err != nil {
			return err
		}
		a.undrain(found, groups)
		why := a.unrest(found, groups)
		if why == "" {
			return nil
		}
		if a.present().isGone() {
			return errors.New("the supervisor is gone")
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no rest within %v: %s; %+v %+v", restWithin, why, found, groups)
		}
		time.Sleep(a.slow(100 * time.Millisecond))
	}
}

// undrain takes back drains of workers that stay. A slot that was left while it
// was drained keeps that for the next worker in it.
func (a *app) undrain(found appStatus, groups []group) {
	for _, w := range found.Workers {
		if w.Stage == control.StageServing && drained(groups, w.Slot) {
			_, _ = a.verb(verbWithin, nil, "undrain", fmt.Sprintf("%s/%d", a.name, w.Slot))
		}
	}
}

func drained(groups []group, number int) bool {
	return slices.ContainsFunc(groups, func(g group) bool {
		return slices.ContainsFunc(g.Slots, func(s slot) bool { return s.Slot == number && s.State == "draining" })
	})
}

// unrest says what is still under way, or "".
func (a *app) unrest(found appStatus, groups []group) string {
	switch {
	case found.PID != a.present().pid():
		return fmt.Sprintf("the supervisor is process %d", found.PID)
	case found.Reloading:
		return "a reload is under way"
	case len(found.Workers) != found.Wanted:
		return fmt.Sprintf("%d workers of %d", len(found.Workers), found.Wanted)
	case len(groups) != len(a.ports()):
		return fmt.Sprintf("%d groups of %d", len(groups), len(a.ports()))
	}
	for _, w := range found.Workers {
		if w.Stage != control.StageServing {
			return fmt.Sprintf("worker %d is %s", w.Slot, w.Stage)
		}
	}
	for _, g := range groups {
		live := 0
		for _, s := range g.Slots {
			if s.State != "gone" && s.State != "live" {
				return fmt.Sprintf("slot %s/%d is %s", g.Name, s.Slot, s.State)
			}
			if s.State == "live" {
				live++
			}
		}
		if live != found.Wanted {
			return fmt.Sprintf("%d slots of %s are live, want %d", live, g.Name, found.Wanted)
		}
	}
	return ""
}

// alibi are our kills, and those of the supervisor.
func (a *app) alibi(since ledger.Moment) (*alibi, error) {
	all := &alibi{hung: make(map[int]bool)}
	a.mu.Lock()
	for _, k := range a.kills {
		if k.Sent >= since {
			all.kills = append(all.kills, k)
		}
	}
	a.mu.Unlock()
	lines, err := readLog(a.logFile.Name())
	if err != nil {
		return nil, err
	}
	all.addLog(lines, since)
	for i := range all.kills {
		all.kills[i].Loops = a.profile.ports // each accepts by itself
	}
	return all, nil
}

// endWithin bounds the end of an app without connections.
const endWithin = 90 * time.Second

// end is SIGTERM, and it must end well; then whatever helps.
func (a *app) end() error {
	defer a.logFile.Close()
	p := a.leave()
	var err error
	switch {
	case p.isGone():
		_, err = a.verb(endWithin, a.environment(), "stop", a.name)
	default:
		_ = p.process.Process.Signal(unix.SIGTERM)
		err = p.await(a.slow(endWithin))
	}
	if err != nil {
		a.force(p)
	}
	return err
}

func (p *supervisor) await(within time.Duration) error {
	select {
	case <-p.ended:
	case <-time.After(within):
		return fmt.Errorf("the supervisor (pid %d) doesn't end within %v", p.pid(), within)
	}
	if code := p.process.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("the supervisor (pid %d) ended with exit code %d", p.pid(), code)
	}
	return nil
}

// force ends what doesn't end in order.
func (a *app) force(p *supervisor) {
	_ = p.process.Process.Kill()
	<-p.ended
	for _, folder := range cgroupsOf(a.name) {
		_ = os.WriteFile(folder+"/cgroup.kill", []byte("1"), 0)
	}
	if _, err := a.verb(endWithin, a.environment(), "stop", a.name); err != nil {
		a.write(a.name, "%v", err)
	}
}

// chooseLive chooses a worker that has been there for a while, so that it knows
// its signals. When fewer than some are live, none is chosen.
func (a *app) chooseLive(e event, least int) (worker, error) {
	live, err := a.live()
	if err != nil {
		return worker{}, err
	}
	if len(live) < least {
		return worker{}, &skipError{fmt.Sprintf("%d workers are live", len(live))}
	}
	w := live[e.pick(len(live))]
	if age(w.PID) < oldEnough {
		return worker{}, &skipError{fmt.Sprintf("worker %d has just started", w.Slot)}
	}
	return w, nil
}

const oldEnough = time.Second

// age is how long a process has been there; 0 if it isn't any more.
func age(pid int) time.Duration {
	const tick = time.Second / 100
	began, err := sockets.StartTime(pid)
	if err != nil {
		return 0
	}
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &now)
	return time.Duration(now.Nano()) - time.Duration(began)*tick
}

func joined(args []string) string { return strings.Join(args, " ") }
