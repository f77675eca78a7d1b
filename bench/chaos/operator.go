package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/loader"
)

// appLanes are what is done to an app.
var appLanes = []lane{faults, operator}

// operator is what is done to an app from outside.
var operator = lane{every: 2 * time.Second, deeds: []deed{
	{"reload", 5, onApp((*app).reload)},
	{"reload all at once", 3, onApp((*app).reloadAtOnce)},
	{"reload by SIGHUP", 1, onApp((*app).reloadBySignal)},
	{"reload that fails", 2, onApp((*app).reloadFails)},
	{"reload that is slow", 1, onApp((*app).reloadSlow)},
	{"reload to workers that ignore SIGTERM", 1, onApp((*app).reloadDeaf)},
	{"scale", 5, onApp((*app).scale)},
	{"kill -9 of the supervisor", 3, onApp((*app).killAndStart)},
	{"kill -9 of the supervisor in a reload", 3, onApp((*app).killInReload)},
	{"kill -9 of the supervisor in a scale step", 2, onApp((*app).killInScale)},
	{"take over", 2, onApp((*app).takeOver)},
	{"take over in a reload", 2, onApp((*app).takeOverInReload)},
	{"drain and undrain", 3, onApp((*app).drain)},
	{"weight", 2, onApp((*app).weight)},
	{"policy", 3, onApp((*app).policy)},
	{"maxconn, and off again", 1, onApp((*app).maxconn)},
	{"probe", 2, onApp((*app).probe)},
	{"full runtime folder", 2, onApp((*app).fullRuntime)},
	{"read-only runtime folder", 2, onApp((*app).readOnlyRuntime)},
}}

// changeWithin bounds a reload or scale step. Before it, workers may have to be
// started again that died often.
const changeWithin = 90 * time.Second

// change runs a verb that waits for workers.
func (a *app) change(args ...string) error {
	a.write(a.name, "%s", joined(args))
	begin := time.Now()
	if _, err := a.verb(changeWithin, a.environment(), args...); err != nil {
		return err
	}
	a.write(a.name, "%s: done after %v", joined(args), time.Since(begin).Round(time.Millisecond))
	return nil
}

func (a *app) reload(event) error       { return a.change("reload", a.name) }
func (a *app) reloadAtOnce(event) error { return a.change("reload", a.name, "--all-at-once") }

func (a *app) reloadBySignal(event) error {
	a.write(a.name, "SIGHUP")
	return a.present().process.Process.Signal(unix.SIGHUP)
}

// withKnobs does something while workers start in another way.
func (a *app) withKnobs(knobs string, do func() error) error {
	a.write(a.name, "workers start with %s from now on", knobs)
	if err := os.WriteFile(a.knobs, []byte(knobs+"\n"), 0o644); err != nil {
		return err
	}
	err := do()
	if remove := os.Remove(a.knobs); err == nil {
		err = remove
	}
	a.write(a.name, "workers start as usual")
	return err
}

// reloadFails expects the reload to fail, and to say so.
func (a *app) reloadFails(event) error {
	return a.withKnobs("LEDGER_FAIL=1", func() error {
		a.write(a.name, "reload")
		output, err := a.verb(changeWithin, a.environment(), "reload", a.name)
		switch {
		case err == nil:
			return fmt.Errorf("done, and no worker can start: %s", output)
		case !strings.Contains(output, "doesn't get ready") || !strings.Contains(output, "told to fail"):
			return fmt.Errorf("it doesn't say why the new worker isn't ready: %w", err)
		}
		a.write(a.name, "reload: failed, as it has to")
		return nil
	})
}

func (a *app) reloadSlow(e event) error {
	knobs := fmt.Sprintf("LEDGER_SLOW_START=%.1f", e.between(500*time.Millisecond, 3*time.Second).Seconds())
	return a.withKnobs(knobs, func() error { return a.change("reload", a.name) })
}

func (a *app) reloadDeaf(event) error {
	return a.withKnobs("LEDGER_IGNORE_TERM=1", func() error { return a.change("reload", a.name) })
}

// size is a number of workers, 2 to 5: with one, a kill leaves nobody to take
// its queue.
func (e event) size() string { return fmt.Sprint(2 + e.pick(4)) }

func (a *app) scale(e event) error { return a.change("scale", a.name, e.size()) }

func (a *app) killAndStart(e event) error {
	a.killSupervisor()
	a.sleep(e.between(0, time.Second))
	return a.restart()
}

func (a *app) killInReload(e event) error {
	args := []string{"reload", a.name}
	if e.which%2 == 1 {
		args = append(args, "--all-at-once")
	}
	return a.during(e, args, a.killAndStart)
}

func (a *app) killInScale(e event) error {
	return a.during(e, []string{"scale", a.name, e.size()}, a.killAndStart)
}

func (a *app) takeOverInReload(e event) error {
	return a.during(e, []string{"reload", a.name}, a.takeOver)
}

// during does something in the middle of a verb, which fails with the
// supervisor that it had asked.
func (a *app) during(e event, verb []string, do func(event) error) error {
	a.write(a.name, "%s", joined(verb))
	ended := make(chan error, 1)
	go func() {
		_, err := a.verb(changeWithin, a.environment(), verb...)
		ended <- err
	}()
	a.sleep(a.slow(e.between(10*time.Millisecond, 400*time.Millisecond)))
	err := do(e)
	if asked := <-ended; asked != nil {
		a.write(a.name, "%v", asked)
	}
	return err
}

// takeOver replaces the supervisor by another process.
func (a *app) takeOver(event) error {
	before := a.leave()
	if err := a.launch("--take-over"); err != nil {
		return err
	}
	a.write(a.name, "run --take-over (pid %d in place of %d)", a.present().pid(), before.pid())
	if err := a.awaitCharge(); err != nil {
		return err
	}
	return before.await(a.slow(chargeWithin))
}

// onSlot runs a verb on a live slot, which may be free by then.
func (a *app) onSlot(e event, verb string, more ...string) (slot string, err error) {
	live, err := a.live()
	if err != nil {
		return "", err
	}
	if len(live) == 0 {
		return "", &skipError{"no worker is live"}
	}
	slot = fmt.Sprintf("%s/%d", a.name, live[e.pick(len(live))].Slot)
	return slot, a.inSlot(slot, verb, more...)
}

func (a *app) inSlot(slot, verb string, more ...string) error {
	args := append([]string{verb, slot}, more...)
	a.write(a.name, "%s", joined(args))
	output, err := a.verb(verbWithin, nil, args...)
	if err != nil && strings.Contains(output, loader.ErrNoSlot.Error()) {
		a.write(a.name, "%s: the slot is free by now", joined(args))
		return nil
	}
	return err
}

func (a *app) drain(e event) error {
	slot, err := a.onSlot(e, "drain")
	if err != nil {
		return err
	}
	a.sleep(e.between(100*time.Millisecond, 2*time.Second))
	return a.inSlot(slot, "undrain")
}

func (a *app) weight(e event) error {
	_, err := a.onSlot(e, "weight", fmt.Sprint(10+int(e.share*290)))
	return err
}

// largeMax is a limit that is never reached: a full app refuses, rightly.
const largeMax = "100000"

func (a *app) maxconn(e event) error {
	slot, err := a.onSlot(e, "maxconn", largeMax)
	if err != nil {
		return err
	}
	a.sleep(e.between(0, time.Second))
	return a.inSlot(slot, "maxconn", "0")
}

var policies = []string{"least", "p2c", "rr", "random", "hash"}

func (a *app) policy(e event) error {
	policy := policies[e.pick(len(policies))]
	a.write(a.name, "policy %s", policy)
	_, err := a.verb(verbWithin, nil, "policy", a.name, policy)
	return err
}

// probe asks one worker. That it doesn't answer is no wonder: it may be stopped,
// or killed meanwhile.
func (a *app) probe(e event) error {
	live, err := a.live()
	if err != nil {
		return err
	}
	if len(live) == 0 {
		return &skipError{"no worker is live"}
	}
	end := a.ends[e.pick(len(a.ends))]
	slot := fmt.Sprintf("%s-%d/%d", a.name, end.to.Port(), live[e.pick(len(live))].Slot)
	output, err := a.verb(verbWithin, nil, "probe", slot, fmt.Sprintf("http://%s/0.0", end.to))
	if err != nil {
		output = err.Error()
	}
	a.write(a.name, "probe %s: %s", slot, output)
	return nil
}

func (a *app) fullRuntime(e event) error     { return a.withoutRuntime(e, true) }
func (a *app) readOnlyRuntime(e event) error { return a.withoutRuntime(e, false) }

// withoutRuntime has the supervisor write nothing for a while, in which nothing
// else happens, or a reload, or it is killed. A supervisor that was started in
// that time takes no requests, so another follows it.
func (a *app) withoutRuntime(e event, full bool) error {
	what := map[bool]string{true: "full", false: "read-only"}[full]
	mend, err := a.breakRuntime(full)
	if err != nil {
		return &skipError{err.Error()}
	}
	a.write(a.name, "the runtime folder is %s", what)
	killed := false
	switch e.which % 3 {
	case 0:
		a.sleep(e.between(100*time.Millisecond, 2*time.Second))
	case 1:
		err = a.change("reload", a.name)
	case 2:
		a.killSupervisor()
		err = a.launch()
		a.write(a.name, "the supervisor is started again")
		a.sleep(e.between(500*time.Millisecond, 2*time.Second))
		killed = true
	}
	if mendErr := mend(); mendErr != nil {
		return mendErr
	}
	a.write(a.name, "the runtime folder can be written to again")
	if err == nil && killed {
		a.killSupervisor()
		err = a.restart()
	}
	return err
}
